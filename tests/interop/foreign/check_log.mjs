// Check receipts with @sigstore/verify and canonical form with canonicalize; knows nothing of our code.
//
// Usage: node check_log.mjs JOB.json, with {vkey, receipts: [{entry, proof}], entries: [text]}.
// Prints the numbers checked; throws at the first disagreement.
import canonicalize from "canonicalize";
import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(import.meta.url);
const verify = path.dirname(require.resolve("@sigstore/verify"));
const { verifyCheckpoint } = require(path.join(verify, "tlog/checkpoint.js"));
const { verifyMerkleInclusion } = require(path.join(verify, "tlog/merkle.js"));

const ED25519_SPKI = Buffer.from("302a300506032b6570032100", "hex");

function trustedLog(vkey) {
  const [, name, keyId, encoded] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(vkey);
  const key = Buffer.from(encoded, "base64").subarray(1);
  const publicKey = createPublicKey({ key: Buffer.concat([ED25519_SPKI, key]), format: "der", type: "spki" });
  return { logID: Buffer.from(keyId, "hex"), baseURL: name, publicKey };
}

function inclusionProof(text) {
  const split = text.indexOf("\n\n");
  const [, index, ...hashes] = text.slice(0, split).split("\n");
  return {
    logIndex: index.replace("index ", ""),
    hashes: hashes.map((hash) => Buffer.from(hash, "base64")),
    checkpoint: { envelope: text.slice(split + 2) },
  };
}

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const logs = [trustedLog(job.vkey)];
for (const { entry, proof } of job.receipts) {
  const evidence = { canonicalizedBody: Buffer.from(entry, "utf8"), inclusionProof: inclusionProof(proof) };
  verifyMerkleInclusion(evidence, verifyCheckpoint(evidence, logs));
}
for (const entry of job.entries) {
  if (canonicalize(JSON.parse(entry)) !== entry) throw new Error(`not canonical: ${entry}`);
}
console.log(`${job.receipts.length} receipts, ${job.entries.length} canonical entries`);
