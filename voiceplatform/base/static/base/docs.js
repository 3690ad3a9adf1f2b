// Starts Swagger UI on /docs; a file of its own because the content policy allows no inline script.
const place = document.getElementById("docs");
SwaggerUIBundle({
  domNode: place,
  url: place.dataset.schema,
  deepLinking: true,
  // A key that was typed in stays in this tab and goes with it.
  persistAuthorization: false,
  // No badge that asks a server elsewhere.
  validatorUrl: null,
});
