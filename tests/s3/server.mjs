// A server of the S3 API for the tests of the vault: s3rver. It prints its address, and ends with its input.
//
// node server.mjs FOLDER [PORT]
//
// What it keeps is in the folder; it has one bucket, `vault`. The key is S3RVER, and so is its secret.

import S3rver from 's3rver';

const [directory, port] = process.argv.slice(2);

const server = new S3rver({
  address: '127.0.0.1',
  port: Number(port ?? 0),
  silent: true,
  directory,
  configureBuckets: [{ name: 'vault' }],
});
const address = await server.run();

console.log(`http://127.0.0.1:${address.port}`);
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
