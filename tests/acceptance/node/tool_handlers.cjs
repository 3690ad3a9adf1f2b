// A customer's tool server in Node, in the styles of Vapi's own JavaScript examples: /first reads
// toolCalls[0].id, /list reads toolCallList, /legacy serves functionCall, /union serves both.
// Takes the secret as its argument and prints its port.
"use strict";
const http = require("node:http");

const book = ({ when }) => `Booked for ${when}.`;

const asObject = (given) => (typeof given === "string" ? JSON.parse(given) : given);

const list = (message) => ({
  results: message.toolCallList.map((toolCall) => ({
    toolCallId: toolCall.id,
    result: book(asObject(toolCall.function.arguments)),
  })),
});

const legacy = ({ functionCall: { name, parameters } }) => {
  if (name !== "book") throw new Error(name);
  return { result: book(parameters) };
};

const styles = {
  "/first": ({ toolCalls }) => ({
    results: [{ toolCallId: toolCalls[0].id, result: book(toolCalls[0].function.arguments) }],
  }),
  "/list": list,
  "/legacy": legacy,
  "/union": (message) => {
    switch (message.type) {
      case "function-call":
        return legacy(message);
      case "tool-calls":
        return list(message);
      default:
        throw new Error(message.type);
    }
  },
};

const server = http.createServer(async (request, response) => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  if (request.headers["x-vapi-secret"] !== process.argv[2]) {
    response.writeHead(401).end();
    return;
  }
  const { message } = JSON.parse(Buffer.concat(pieces).toString());
  const answer = styles[request.url](message);
  // Vapi's oldest examples answer 201.
  response.writeHead(request.url === "/legacy" ? 201 : 200, { "content-type": "application/json" });
  response.end(JSON.stringify(answer));
});

server.listen(0, "127.0.0.1", () => console.log(server.address().port));
