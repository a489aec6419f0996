// The same work as sync_bench with PouchDB syncing to a CouchDB-compatible server, both from npm;
// see bench/sync.
//
//   node pouch.mjs serve FOLDER PORT              the server, until it is killed
//   node pouch.mjs fill DB COUNT [START]          COUNT new documents of 400 bytes
//   node pouch.mjs push|pull DB URL               one replication; prints "seconds S"
//   node pouch.mjs check DB COUNT

import PouchDB from 'pouchdb';

const [step, name, ...rest] = process.argv.slice(2);
const words = ['river', 'stone', 'amber', 'willow', 'harbour', 'lantern', 'copper', 'meadow',
  'thunder', 'velvet', 'anchor', 'juniper'];

function document(number) {
  let state = (BigInt(number) * 0x9e3779b97f4a7c15n + 1n) & 0xffffffffffffffffn;
  const mask = 0xffffffffffffffffn;
  let text = '';
  while (text.length < 300) {
    state ^= (state << 13n) & mask;
    state ^= state >> 7n;
    state ^= (state << 17n) & mask;
    text += (text ? ' ' : '') + words[Number(state % 12n)];
  }
  const out = {number, kind: words[number % 12], text};
  out.pad = 'x'.repeat(Math.max(0, 400 - JSON.stringify(out).length - 9));
  return {_id: 'record' + number, ...out};
}

async function serve() {
  const {default: express} = await import('express');
  const {default: server} = await import('express-pouchdb');
  const Store = PouchDB.defaults({prefix: name + '/'});
  const app = express();
  app.use('/', server(Store, {mode: 'minimumForPouchDB', inMemoryConfig: true, logPath: name + '/log.txt'}));
  app.listen(Number(rest[0]), '127.0.0.1', () => console.log('listening'));
}

if (step === 'serve') {
  await serve();
} else {
  const db = new PouchDB(name);
  if (step === 'fill') {
    const start = Number(rest[1] ?? 0);
    for (let at = 0; at < Number(rest[0]); at += 1000) {
      const docs = [];
      for (let i = at; i < Math.min(at + 1000, Number(rest[0])); ++i) docs.push(document(start + i));
      await db.bulkDocs(docs);
    }
  } else if (step === 'push' || step === 'pull') {
    const started = performance.now();
    const options = {batch_size: 1000};
    const result = step === 'push' ? await db.replicate.to(rest[0], options)
      : await db.replicate.from(rest[0], options);
    const status = await import('node:fs').then((fs) => fs.readFileSync('/proc/self/status', 'utf8'));
    const peak = Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)[1]) / 1024);
    console.log(`seconds ${((performance.now() - started) / 1000).toFixed(3)} peak-mib ${peak} ok ${result.ok}`);
  } else if (step === 'check') {
    const held = (await db.info()).doc_count;
    if (held !== Number(rest[0])) {
      console.error('it holds ' + held);
      process.exitCode = 1;
    }
  }
  await db.close();
}
