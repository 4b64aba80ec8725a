// An OpenID provider for the tests of logins: panva's oidc-provider. It prints its issuer, and ends with its input.
//
// node provider.mjs CALLBACK [PORT]
//
// Somebody is whom the page of the interaction is told (`?who=`): a test logs in as anybody, without a form. Two clients
// are registered, so that a token for the other one can be shown; that one's are signed with an elliptic key. The keys are
// new each time: started again on its port, it is a provider that has changed them.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [callback, port] = process.argv.slice(2);

const server = createServer();
await new Promise((resolve) => server.listen(Number(port ?? 0), '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const key = (kind, options) => ({
  ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }),
  use: 'sig',
});

const client = (id, signed) => ({
  client_id: id,
  client_secret: `the secret of ${id}`,
  redirect_uris: [callback],
  grant_types: ['authorization_code'],
  response_types: ['code'],
  id_token_signed_response_alg: signed,
});

// Everybody says that the doctor's address is theirs, and the provider that it is so.
const claims = (sub) => ({ sub, email: 'maria@clinic.example', email_verified: true });

const provider = new Provider(issuer, {
  jwks: { keys: [key('rsa', { modulusLength: 2048 }), key('ec', { namedCurve: 'P-256' })] },
  clients: [client('sigilo', 'RS256'), client('another', 'ES256')],
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256'] },
  pkce: { required: () => true },
  cookies: { keys: ['only for tests'] },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (ctx, interaction) => `/as/${interaction.uid}` },
  findAccount: (ctx, sub) => ({ accountId: sub, claims: () => claims(sub) }),
  claims: { openid: ['sub', 'amr', 'email', 'email_verified'] },
  // The clock of a test runs ahead of this one.
  ttl: { Session: 60, Interaction: 600, Grant: 600, IdToken: 36000, AuthorizationCode: 60, AccessToken: 60 },
});

const handle = provider.callback();
server.on('request', async (request, response) => {
  const url = new URL(request.url, issuer);
  if (!url.pathname.startsWith('/as/')) return handle(request, response);
  const { prompt, params } = await provider.interactionDetails(request, response);
  if (url.searchParams.has('refuse')) {
    return provider.interactionFinished(request, response, { error: 'access_denied' });
  }
  if (prompt.name === 'login') {
    // A second factor was asked for, it says: that is no concern of the account's own.
    const login = { accountId: url.searchParams.get('who'), amr: ['pwd', 'otp', 'mfa'], remember: false };
    return provider.interactionFinished(request, response, { login });
  }
  const { session } = await provider.interactionDetails(request, response);
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope('openid');
  const grantId = await grant.save();
  return provider.interactionFinished(request, response, { consent: { grantId } });
});

console.log(issuer);
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
