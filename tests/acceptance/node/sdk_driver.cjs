// Runs the official TypeScript SDK for a Python test: one JSON command a line on stdin, one JSON
// answer a line on stdout. `{"group", "method", "request", "times"?}` calls
// `client[group][method](request)`; what the SDK throws is an answer too.
//
// node sdk_driver.cjs FOLDER_WITH_NODE_MODULES BASE_URL TOKEN
const { createRequire } = require("node:module");
const readline = require("node:readline");

const [folder, baseUrl, token] = process.argv.slice(2);
const { VapiClient } = createRequire(`${folder}/`)("@vapi-ai/server-sdk");
const client = new VapiClient({ token, baseUrl });

async function once({ group, method, request, options }) {
  try {
    return { value: await client[group][method](request, options) };
  } catch (error) {
    return {
      error: error.constructor.name,
      statusCode: error.statusCode,
      body: error.body,
      message: error.message,
    };
  }
}

async function run() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    const times = command.times ?? 1;
    const answers = await Promise.all(Array.from({ length: times }, () => once(command)));
    process.stdout.write(`${JSON.stringify(command.times ? answers : answers[0])}\n`);
  }
}

run();
