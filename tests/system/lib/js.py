# SPDX-License-Identifier: ISC
"""Libraries of node that Debian does not have (tests/deps unpacks them):
pkijs reads and makes S/MIME, mailauth verifies DKIM.  All questions of one
kind are asked at once: node needs longer to start than to answer.

    js.pkijs([{"verb": "verify", ...}, ...])     answers, in their order
    js.mailauth([message, ...], {"s1._domainkey.example.test": "v=DKIM1;..."})
"""

import base64
import json
import os
import subprocess

# A program that waits for somebody at a keyboard has failed.
PATIENCE_S = 120

# Certificates and keys are PEM, the rest base64; an answer has "error" when
# there is none.
PKIJS = r"""
const {webcrypto} = require('crypto');
let asn1js, Certificate, ContentInfo, SignedData, EnvelopedData, SignerInfo,
    IssuerAndSerialNumber, Attribute, SignedAndUnsignedAttributes,
    EncapsulatedContentInfo;

// A module that require() alone would look for by NODE_PATH.
const load = (name) => import(require.resolve(name));

async function start() {
  const pkijs = await load('pkijs');
  asn1js = await load('asn1js');
  ({Certificate, ContentInfo, SignedData, EnvelopedData, SignerInfo,
    IssuerAndSerialNumber, Attribute, SignedAndUnsignedAttributes,
    EncapsulatedContentInfo} = pkijs);
  pkijs.setEngine('node', new pkijs.CryptoEngine({name: 'node',
      crypto: webcrypto, subtle: webcrypto.subtle}));
}

// WebCrypto has no RSA by PKCS #1 v1.5 for keys: node-forge's is put in.
const transport = (a) => ({
  recipientCertificate: certificate(a.cert),
  recipientPrivateKey: {algorithm: {name: 'RSAES-PKCS1-v1_5'}},
  crypto: {subtle: {async decrypt(algorithm, key, data) {
    const opened = require('node-forge').pki.privateKeyFromPem(a.key)
        .decrypt(Buffer.from(data).toString('binary'), 'RSAES-PKCS1-V1_5');
    return Uint8Array.from(Buffer.from(opened, 'binary')).buffer;
  }}},
});

const bytes = (text) => Uint8Array.from(Buffer.from(text, 'base64')).buffer;
const text = (buffer) => Buffer.from(buffer).toString('base64');
const pem = (t) => bytes(t.replace(/-----[^-]+-----/g, ''));
const certificate = (t) => Certificate.fromBER(pem(t));
const content = (t) => {
  const info = new ContentInfo({schema: asn1js.fromBER(bytes(t)).result});
  return info.content;
};
const wrapped = (type, value) => text(new ContentInfo({contentType: type,
    content: value.toSchema(true)}).toSchema().toBER(false));
const names = {
  rsa: {name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256'},
  ec: {name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256'},
};
const DATA = '1.2.840.113549.1.7.1';

const verbs = {
  async verify(a) {
    const signed = new SignedData({schema: content(a.der)});
    const result = await signed.verify({signer: 0, checkChain: true,
        trustedCerts: [certificate(a.ca)], extendedMode: true,
        ...(a.text === undefined ? {} : {data: bytes(a.text)})});
    const inside = signed.encapContentInfo.eContent;
    return {verified: result.signatureVerified === true &&
            result.signerCertificateVerified === true,
        text: inside ? text(inside.getValue()) : null};
  },
  async decrypt(a) {
    const enveloped = new EnvelopedData({schema: content(a.der)});
    // Of a ukm that is not there pkijs 4.0.0 makes an empty one for the KDF.
    for (const {value} of enveloped.recipientInfos)
      value.ukm = value.ukm || false;
    return {text: text(await enveloped.decrypt(0, a.kind === 'rsa' ?
        transport(a) : {recipientCertificate: certificate(a.cert),
            recipientPrivateKey: pem(a.key)}))};
  },
  async sign(a) {
    const data = bytes(a.text);
    const own = certificate(a.cert);
    const key = await webcrypto.subtle.importKey('pkcs8', pem(a.key),
        names[a.kind], true, ['sign']);
    const digest = await webcrypto.subtle.digest('SHA-256', data);
    const attribute = (type, value) => new Attribute({type,
        values: [value]});
    const signed = new SignedData({version: 1,
        encapContentInfo: new EncapsulatedContentInfo({eContentType: DATA,
            ...(a.detached ? {} : {eContent: new asn1js.OctetString({
                valueHex: data})})}),
        signerInfos: [new SignerInfo({version: 1,
            sid: new IssuerAndSerialNumber({issuer: own.issuer,
                serialNumber: own.serialNumber}),
            signedAttrs: new SignedAndUnsignedAttributes({type: 0,
                attributes: [
                    attribute('1.2.840.113549.1.9.3',
                        new asn1js.ObjectIdentifier({value: DATA})),
                    attribute('1.2.840.113549.1.9.5',
                        new asn1js.UTCTime({valueDate: new Date()})),
                    attribute('1.2.840.113549.1.9.4',
                        new asn1js.OctetString({valueHex: digest})),
                ]})})],
        certificates: [own]});
    await signed.sign(key, 0, 'SHA-256', data);
    return {der: wrapped('1.2.840.113549.1.7.2', signed)};
  },
  async encrypt(a) {
    const enveloped = new EnvelopedData();
    enveloped.addRecipientByCertificate(certificate(a.cert),
        a.kind === 'rsa' ? {oaepHashAlgorithm: 'SHA-256'} : {});
    await enveloped.encrypt({name: a.cipher, length: 256}, bytes(a.text));
    return {der: wrapped('1.2.840.113549.1.7.3', enveloped)};
  },
};

(async () => {
  await start();
  const asked = JSON.parse(require('fs').readFileSync(0, 'utf8'));
  const answers = [];
  for (const ask of asked) {
    try {
      answers.push(await verbs[ask.verb](ask));
    } catch (error) {
      answers.push({error: String(error.message || error)});
    }
  }
  console.log(JSON.stringify(answers));
})();
"""

# What mailauth fetches with wants it; node 18 has it in a module alone.
FILE = "globalThis.File ??= require('buffer').File;"

MAILAUTH = FILE + r"""
const {dkimVerify} = require('mailauth/lib/dkim/verify');

(async () => {
  const {messages, records} = JSON.parse(
      require('fs').readFileSync(0, 'utf8'));
  const resolver = async (name, type) => {
    if (type !== 'TXT' || !(name in records)) {
      const error = new Error('no such name');
      error.code = 'ENOTFOUND';
      throw error;
    }
    return [[records[name]]];
  };
  const answers = [];
  for (const message of messages) {
    const result = await dkimVerify(Buffer.from(message, 'base64'),
        {resolver});
    answers.push(result.results.map((one) => [one.algo, one.status.result,
        one.signingDomain || '', one.canonBodyLengthLimited || false]));
  }
  console.log(JSON.stringify(answers));
})();
"""


def _node(script, data=b""):
    return subprocess.run(["node", "-e", script], input=data,
                          capture_output=True, check=False,
                          timeout=PATIENCE_S, env=dict(os.environ))


def has(module):
    return _node(FILE + f"import(require.resolve('{module}')).catch(() => "
                 "process.exit(1))").returncode == 0


def _ask(script, question):
    done = _node(script, json.dumps(question).encode())
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return json.loads(done.stdout)


def pkijs(questions):
    answers = _ask(PKIJS, [
        {name: base64.b64encode(value).decode()
         if isinstance(value, bytes) else value
         for name, value in question.items()} for question in questions])
    for answer in answers:
        for name in ("text", "der"):
            if answer.get(name):
                answer[name] = base64.b64decode(answer[name])
    return answers


def mailauth(messages, records):
    """For each message [(algorithm, result, domain, is limited), ...]."""
    return [[tuple(one) for one in found] for found in _ask(
        MAILAUTH, {"messages": [base64.b64encode(m).decode()
                                for m in messages], "records": records})]
