// One engine, one part of the work; prints "ENGINE WORK VALUE" a line. See bench/model_peers.
import { readFileSync } from 'node:fs';

const [engine, part, trace] = process.argv.slice(2);
const print = (work, value) => console.log(`${engine} ${work} ${value.toFixed(3)}`);
const timed = (work, f) => {
  const start = process.cpuUsage();
  const out = f();
  const used = process.cpuUsage(start);
  print(work, (used.user + used.system) / 1000);
  return out;
};
const document = (i) => ({
  title: `Title of record ${i}`, body: `Some words of record ${i}, as a note would have them`,
  done: i % 2 === 0, count: i, ratio: i / 7, tag: `tag${i % 10}`, owner: `user${i % 100}`,
  created: 1700000000000 + i,
});
const name = (i) => `record-${i}`;
const sum = (list) => list.reduce((n, bytes) => n + bytes.length, 0);

// For each engine: make(id), put(doc, records), edit(doc, i, field, value), all(doc), since(doc,
// mark), mark(doc), apply(doc, bytes) -> doc, read(doc).
const engines = {
  async automerge() {
    const A = await import('@automerge/automerge');
    return {
      make: () => A.from({ records: {} }),
      put: (doc, n) => A.change(doc, (d) => { for (let i = 0; i < n; i++) d.records[name(i)] = document(i); }),
      edits: (doc, list) => { for (const [i, f, v] of list) doc = A.change(doc, (d) => { d.records[name(i)][f] = v; }); return doc; },
      all: (doc) => A.save(doc),
      mark: (doc) => A.getHeads(doc),
      since: (doc, mark) => { const changes = A.getChangesSince ? A.getChangesSince(doc, mark) : A.getAllChanges(doc); return changes; },
      load: (bytes) => A.load(bytes),
      apply: (doc, changes) => A.applyChanges(doc, changes)[0],
      read: (doc) => Object.keys(doc.records).length,
      fork: (doc) => A.clone(doc),
      size: sum,
    };
  },
  async yjs() {
    const Y = await import('yjs');
    const fresh = () => new Y.Doc();
    return {
      make: fresh,
      put: (doc, n) => { doc.transact(() => { const m = doc.getMap('records'); for (let i = 0; i < n; i++) m.set(name(i), new Y.Map(Object.entries(document(i)))); }); return doc; },
      edits: (doc, list) => { const m = doc.getMap('records'); for (const [i, f, v] of list) m.get(name(i)).set(f, v); return doc; },
      all: (doc) => Y.encodeStateAsUpdateV2(doc),
      mark: (doc) => Y.encodeStateVector(doc),
      since: (doc, mark) => Y.encodeStateAsUpdateV2(doc, mark),
      load: (bytes) => { const d = fresh(); Y.applyUpdateV2(d, bytes); return d; },
      apply: (doc, bytes) => { Y.applyUpdateV2(doc, bytes); return doc; },
      read: (doc) => Object.keys(doc.getMap('records').toJSON()).length,
      fork: (doc) => { const d = fresh(); Y.applyUpdateV2(d, Y.encodeStateAsUpdateV2(doc)); return d; },
      size: (bytes) => bytes.length,
    };
  },
  async loro() {
    const { LoroDoc, LoroMap } = await import('loro-crdt');
    return {
      make: () => new LoroDoc(),
      put: (doc, n) => { const m = doc.getMap('records'); for (let i = 0; i < n; i++) { const r = m.setContainer(name(i), new LoroMap()); for (const [k, v] of Object.entries(document(i))) r.set(k, v); } doc.commit(); return doc; },
      edits: (doc, list) => { const m = doc.getMap('records'); for (const [i, f, v] of list) { m.get(name(i)).set(f, v); doc.commit(); } return doc; },
      all: (doc) => doc.export({ mode: 'snapshot' }),
      mark: (doc) => doc.version(),
      since: (doc, mark) => doc.export({ mode: 'update', from: mark }),
      load: (bytes) => { const d = new LoroDoc(); d.import(bytes); return d; },
      apply: (doc, bytes) => { doc.import(bytes); return doc; },
      read: (doc) => Object.keys(doc.toJSON().records).length,
      fork: (doc) => doc.fork(),
      size: (bytes) => bytes.length,
    };
  },
  async 'json-joy'() {
    const { Model } = await import('json-joy/lib/json-crdt/index.js');
    return {
      make: () => { const m = Model.create(); m.api.root({}); return m; },
      put: (m, n) => { const all = {}; for (let i = 0; i < n; i++) all[name(i)] = document(i); m.api.root(all); m.api.flush(); return m; },
      edits: (m, list) => { m.api.flush(); const patches = []; for (const [i, f, v] of list) { m.api.obj([name(i)]).set({ [f]: v }); patches.push(m.api.flush()); } m.patches = patches; return m; },
      all: (m) => m.toBinary(),
      mark: () => null,
      since: (m) => m.patches.map((p) => p.toBinary()),
      load: (bytes) => Model.load(bytes),
      apply: (m, list) => { for (const b of list) m.applyPatch(fromBinary(b)); return m; },
      read: (m) => Object.keys(m.view()).length,
      fork: (m) => m.fork(),
      size: sum,
    };
  },
};
let fromBinary;
if (engine === 'json-joy') {
  const { Patch } = await import('json-joy/lib/json-crdt-patch/index.js');
  fromBinary = (bytes) => Patch.fromBinary(bytes);
}

async function records() {
  const e = await engines[engine]();
  let doc = timed('records-produce', () => e.put(e.make(), 10000));
  const bytes = timed('records-encode', () => e.all(doc));
  print('records-bytes', bytes.length);
  let other = timed('records-apply', () => { const d = e.load(bytes); if (e.read(d) !== 10000) throw new Error('records'); return d; });
  const mark = e.mark(doc);
  const list = Array.from({ length: 1000 }, (_, i) => [i, 'title', '0123456789']);
  doc = timed('edits-produce', () => e.edits(doc, list));
  const edits = e.since(doc, mark);
  print('edits-bytes', e.size(edits));
  other = timed('edits-apply', () => e.apply(other, edits));
  const before = e.mark(doc);
  doc = e.edits(doc, [[1, 'title', '9876543210']]);
  print('lone-bytes', e.size(e.since(doc, before)));
}

async function conflicts() {
  const e = await engines[engine]();
  let a = e.put(e.make(), 5000);
  let b = e.fork(a);
  const mark = e.mark(a);
  const mark_b = e.mark(b);
  const n = 5000;
  a = e.edits(a, Array.from({ length: n }, (_, i) => [i, 'title', 'changed by one side']));
  b = e.edits(b, Array.from({ length: n }, (_, i) => [i, i % 2 ? 'title' : 'body', 'changed by the other']));
  const of_a = e.since(a, mark);
  const of_b = e.since(b, mark_b);
  print('conflicts-bytes', e.size(of_a) + e.size(of_b));
  timed('conflicts-merge', () => { a = e.apply(a, of_b); b = e.apply(b, of_a); e.read(a); e.read(b); });
}

// Two authors at once: a word here and a word there, as bench/model_bench.cc has it.
function typing(author, each, size) {
  let random = BigInt(author + 1);
  let at = 0;
  const out = [];
  for (let i = 0; i < each; i++) {
    random = BigInt.asUintN(64, random * 6364136223846793005n + 1442695040888963407n);
    if (i % 8 === 0) at = Number((random >> 33n) % BigInt(size + i + 1));
    out.push([at++, String.fromCharCode(97 + (i % 26))]);
  }
  return out;
}

const texts = {
  async automerge() {
    const A = await import('@automerge/automerge');
    return {
      make: () => A.from({ text: '' }),
      splice: (d, list) => A.change(d, (doc) => { for (const [at, del, ins] of list) A.splice(doc, ['text'], at, del, ins); }),
      save: A.save, load: (b) => { const d = A.load(b); d.text.length; return d; }, text: (d) => d.text,
      fork: (d) => A.clone(d), since: (d, from) => A.getChanges(from, d), merge: (d, c) => A.applyChanges(d, c)[0],
    };
  },
  async yjs() {
    const Y = await import('yjs');
    const load = (b) => { const d = new Y.Doc(); Y.applyUpdateV2(d, b); return d; };
    return {
      make: () => new Y.Doc(),
      splice: (d, list) => { const t = d.getText('t'); for (const [at, del, ins] of list) { if (del) t.delete(at, del); if (ins) t.insert(at, ins); } return d; },
      save: (d) => Y.encodeStateAsUpdateV2(d), load: (b) => { const d = load(b); d.getText('t').toString(); return d; }, text: (d) => d.getText('t').toString(),
      fork: (d) => load(Y.encodeStateAsUpdateV2(d)), since: (d, from) => Y.encodeStateAsUpdateV2(d, Y.encodeStateVector(from)),
      merge: (d, u) => { Y.applyUpdateV2(d, u); return d; },
    };
  },
  async loro() {
    const { LoroDoc } = await import('loro-crdt');
    return {
      make: () => new LoroDoc(),
      splice: (d, list) => { const t = d.getText('t'); for (const [at, del, ins] of list) { if (del) t.delete(at, del); if (ins) t.insert(at, ins); } d.commit(); return d; },
      save: (d) => d.export({ mode: 'snapshot' }), load: (b) => { const d = new LoroDoc(); d.import(b); d.getText('t').toString(); return d; }, text: (d) => d.getText('t').toString(),
      fork: (d) => d.fork(), since: (d, from) => d.export({ mode: 'update', from: from.version() }), merge: (d, u) => { d.import(u); return d; },
    };
  },
  async 'json-joy'() {
    const { Model } = await import('json-joy/lib/json-crdt/index.js');
    const { s } = await import('json-joy/lib/json-crdt-patch/index.js');
    return {
      make: () => { const m = Model.create(); m.api.root({ t: '' }); m.api.flush(); return m; },
      splice: (m, list) => { const t = m.api.str(['t']); for (const [at, del, ins] of list) { if (del) t.del(at, del); if (ins) t.ins(at, ins); } m.last = m.api.flush(); return m; },
      save: (m) => m.toBinary(), load: (b) => { const m = Model.load(b); m.view(); return m; }, text: (m) => m.view().t,
      fork: (m) => m.fork(), since: (m) => m.last, merge: (m, p) => { m.applyPatch(p); return m; },
    };
  },
  async 'diamond-types'() {
    const { default: dt } = await import('diamond-types-node');
    return {
      make: () => new dt.Doc('base'),
      splice: (d, list) => { for (const [at, del, ins] of list) { if (del) d.del(at, del); if (ins) d.ins(at, ins); } return d; },
      save: (d) => d.toBytes(), load: (b) => { const d = dt.Doc.fromBytes(b, 'reader'); d.get(); return d; }, text: (d) => d.get(),
      fork: (d, id) => dt.Doc.fromBytes(d.toBytes(), id), since: (d, from) => d.getPatchSince(from.getLocalVersion()), merge: (d, p) => { d.mergeBytes(p); return d; },
    };
  },
};

async function text() {
  const e = await texts[engine]();
  const data = JSON.parse(readFileSync(trace));
  const list = data.txns.flatMap((t) => t.patches);
  let doc = timed('text-apply', () => e.splice(e.make(), list));
  if (e.text(doc) !== data.endContent) throw new Error('the trace ends wrong');
  const bytes = e.save(doc);
  print('text-bytes', bytes.length);
  timed('text-load', () => e.load(bytes));
  const size = data.endContent.length;
  const base = e.fork(doc, 'base2');
  let a = e.splice(e.fork(doc, 'a'), typing(0, 10000, size).map(([at, c]) => [at, 0, c]));
  let b = e.splice(e.fork(doc, 'b'), typing(1, 10000, size).map(([at, c]) => [at, 0, c]));
  const update = e.since(b, base);
  timed('text-merge', () => { a = e.merge(a, update); e.text(a); });
}

await { records, conflicts, text }[part]();
process.exit(0);
