// An OpenID provider on loopback, for the demonstration and for tests: the certified `oidc-provider`, with
// people and clients from a JSON file instead of a database, and one page on which a person is chosen by name.
//
//   node provider.mjs CONFIG.json
//
// prints one line of JSON, {"issuer": ...}, when it listens, and ends when its standard input does, so that
// it never outlives whoever started it. Nobody proves anything here: never reachable from another machine.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Provider, interactionPolicy } from 'oidc-provider';
import { chooserPage, messagePage } from './pages.mjs';

const LOOPBACK = ['127.0.0.1', '::1'];

const settings = {
  host: '127.0.0.1',
  port: 0, // 0: any free one
  issuer: '', // its name behind a proxy that speaks TLS; else the address that it listens on
  people: [], // [{account, amr, claims: {email, email_verified, name, groups, ...}}]
  clients: [], // as in dynamic registration: client_id, redirect_uris, token_endpoint_auth_method, ...
  algorithm: 'RS256', // of the ID tokens
  always_ask: false, // true: nobody is remembered, each login shows the people
  claims_in_id_token: false, // false, as the certified default: from userinfo only
  ...JSON.parse(readFileSync(process.argv[2], 'utf8')),
};
const people = new Map(settings.people.map((person) => [person.account, person]));

function signingKeys() {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const curve = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }[settings.algorithm];
  const keys = [rsa];
  if (curve) keys.push(generateKeyPairSync('ec', { namedCurve: curve }).privateKey);
  return { keys: keys.map((key) => ({ use: 'sig', ...key.export({ format: 'jwk' }) })) };
}

function client(registration) {
  return { id_token_signed_response_alg: settings.algorithm, ...registration };
}

// Every claim that somebody has, asked for by the scope that OpenID Connect gives it; the rest by `profile`.
function claimsByScope() {
  const known = new Set(settings.people.flatMap((person) => Object.keys(person.claims ?? {})));
  const scopes = { openid: ['sub', 'amr', 'auth_time'], email: ['email', 'email_verified'], groups: ['groups'] };
  const placed = new Set(Object.values(scopes).flat());
  return { ...scopes, profile: ['name', ...[...known].filter((claim) => !placed.has(claim))] };
}

function policy() {
  const { Check, Prompt, base } = interactionPolicy;
  const prompts = base();
  const asked = (ctx) => Boolean(ctx.oidc.result?.login);
  if (settings.always_ask) prompts.get('login').checks.add(new Check('always_ask', 'choose', (ctx) => !asked(ctx)));
  // Not among the prompts of the default policy, and what "use another account" asks for.
  prompts.add(new Prompt({ name: 'select_account', requestable: true }), 0);
  return prompts;
}

// Nobody is asked for consent: the clients are the operator's own. One grant a session, as the library's default
// has it: with a new one for each attempt, the codes of somebody's other tabs would be worth nothing.
async function grantEverything(ctx) {
  const { client: { clientId }, session, params: { scope } } = ctx.oidc;
  const { accountId } = session;
  const known = session.grantIdFor(clientId);
  const grant = (known && await ctx.oidc.provider.Grant.find(known))
    || new ctx.oidc.provider.Grant({ clientId, accountId });
  grant.addOIDCScope(scope);
  await grant.save();
  return grant;
}

function createProvider(issuer) {
  const provider = new Provider(issuer, {
    clients: settings.clients.map(client),
    jwks: signingKeys(),
    claims: claimsByScope(),
    scopes: ['openid', 'email', 'profile', 'groups', 'offline_access'],
    // To every client that may: consent, which the scope offline_access is for, is nobody's here.
    issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    conformIdTokenClaims: !settings.claims_in_id_token,
    enabledJWA: {
      idTokenSigningAlgValues: ['RS256', 'RS512', 'PS512', 'ES256', 'ES384', 'ES512'],
    },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: {
        logoutSource: (ctx, form) => {
          ctx.body = messagePage('Log out of the demonstration provider?', form
            + '<button form="op.logoutForm" name="logout" value="yes">Log out</button>');
        },
        postLogoutSuccessSource: (ctx) => {
          ctx.body = messagePage('You are logged out of the demonstration provider.');
        },
      },
    },
    findAccount: (_ctx, account) => people.has(account) && {
      accountId: account,
      claims: async () => ({ sub: account, ...people.get(account).claims }),
    },
    interactions: { policy: policy(), url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    loadExistingGrant: grantEverything,
    pkce: { required: () => true },
    renderError: (ctx, out) => {
      ctx.type = 'html';
      ctx.body = messagePage(`${out.error}: ${out.error_description ?? ''}`);
    },
    ttl: { Session: 3600, Interaction: 3600, Grant: 3600, IdToken: 600, AccessToken: 600 },
  });
  provider.proxy = Boolean(settings.issuer);
  provider.on('server_error', (_ctx, error) => console.error(error));
  return provider;
}

async function readForm(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return new URLSearchParams(Buffer.concat(chunks).toString());
}

// Without this the library answers a change of account with a page that submits itself by script.
async function forgetAccount(provider, { session: origin }) {
  const session = origin && await provider.Session.findByUid(origin.uid);
  if (!session) return;
  session.accountId = undefined;
  session.authorizations = {};
  await session.persist();
}

// GET shows the people, POST with `account` logs one of them in, POST without cancels.
async function interact(provider, request, response) {
  const interaction = await provider.interactionDetails(request, response);
  if (request.method !== 'POST') {
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    response.end(chooserPage([...people.values()], interaction.params.client_id));
    return;
  }
  const person = people.get((await readForm(request)).get('account'));
  const result = person
    ? { login: { accountId: person.account, amr: person.amr }, select_account: {} }
    : { error: 'access_denied', error_description: 'the person cancelled' };
  const returnTo = await provider.interactionResult(request, response, result, { mergeWithLastSubmission: false });
  if (person) await forgetAccount(provider, interaction);
  response.writeHead(303, { Location: returnTo }).end();
}

function serve(provider) {
  const answer = provider.callback();
  return (request, response) => {
    if (!request.url.startsWith('/interaction/')) return answer(request, response);
    return interact(provider, request, response).catch((error) => {
      response.statusCode = 400;
      response.setHeader('Content-Type', 'text/html; charset=utf-8');
      response.end(messagePage(`This login cannot go on: ${error.error_description ?? error.message}.`));
    });
  };
}

if (!LOOPBACK.includes(settings.host)) throw new Error(`host must be one of ${LOOPBACK}, not ${settings.host}`);
const server = createServer();
server.on('error', (error) => {
  console.error(`identity provider: ${error.message}`);
  process.exit(1);
});
server.listen(settings.port, settings.host, () => {
  const { port } = server.address();
  const issuer = settings.issuer || `http://${settings.host.includes(':') ? `[${settings.host}]` : settings.host}:${port}`;
  server.on('request', serve(createProvider(issuer)));
  console.log(JSON.stringify({ issuer }));
});
process.stdin.on('end', () => process.exit(0)).resume();
process.on('SIGTERM', () => process.exit(0));
