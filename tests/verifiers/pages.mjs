// Runs Cloudflare's own plugin for Pages as Pages would: one request in (JSON on stdin), what became of it out.
import cloudflareAccess from "@cloudflare/pages-plugin-cloudflare-access";
import { text } from "node:stream/consumers";

const { team, aud, url, token } = JSON.parse(await text(process.stdin));
const data = {};
const context = {
  request: new Request(url, { headers: { "Cf-Access-Jwt-Assertion": token } }),
  functionPath: "",
  env: {},
  data,
  next: async () => new Response("the application", { status: 200 }),
  waitUntil: () => {},
  passThroughOnException: () => {},
};
const response = await cloudflareAccess({ domain: team, aud })(context);
const access = data.cloudflareAccess?.JWT;
console.log(
  JSON.stringify({
    status: response.status,
    location: response.headers.get("Location"),
    payload: access?.payload,
    identity: await access?.getIdentity(),
  }),
);
