// Score texts with a model that fasttext_app exported to ONNX, in Node or in a browser:
//
//     import * as ort from "onnxruntime-web";                           // or onnxruntime-node
//     const document = await (await fetch("model.json")).json();
//     const scorer = await Scorer.load(ort, "model.onnx", document);    // a path, a URL or bytes
//     await scorer.predict(["some text"]);                              // [{label, probability}]
//
// The document, model.json beside the model, describes how a text becomes row ids.

const FORMAT = "fasttext_app encoder", FORMAT_VERSION = 1, CACHED_WORDS = 1 << 16;
const utf8 = new TextEncoder();

/** FNV-1a over UTF-8 bytes, each sign-extended, as in fastText: a signed 32-bit number. */
export function hash32(bytes) {
  let state = 2166136261 | 0;
  for (const byte of bytes) state = Math.imul(state ^ (byte << 24 >> 24), 16777619);
  return state;
}

/** Turns texts into row ids, by the rules of the JSON document beside a model. */
export class Encoder {
  constructor(document) {
    if (document.format !== FORMAT || document.format_version > FORMAT_VERSION)
      throw new Error(`this scorer reads version ${FORMAT_VERSION} of a ${FORMAT}`);
    this.rules = document;
    this.tokenizer = document.tokenizer;
    this.words = new Map(document.words.map((word, row) => [word, row]));
    this.firstBucket = document.words.length;
    this.seen = new Map();
    let bucket = 0;
    this.buckets = document.bucket_gaps && Int32Array.from(document.bucket_gaps, (gap) => bucket += gap);
    this.rewriting = document.rewriting.replace.map(([pattern, word]) => [new RegExp(pattern, "gsu"), word]);
    const cased = this.tokenizer.lowercase ?? document.rewriting.lowercase;
    this.cased = cased && new RegExp(cased, "gsu");
    if (this.tokenizer.name === "unicode") {
      this.classes = new Array(0x110000).fill("o");
      for (const [letter, ranges] of Object.entries(this.tokenizer.classes))
        for (const range of ranges.split(" ")) {
          const [first, last = first] = range.split("-");
          this.classes.fill(letter, parseInt(first, 16), parseInt(last, 16) + 1);
        }
    }
    this.token = new RegExp(this.tokenizer.token ?? this.tokenizer.segment, "gsu");
  }

  /** The ids of all texts end to end, and where each text begins; both for ONNX Runtime. */
  encode(texts) {
    const ids = [], offsets = [0n];
    for (const text of texts) {
      for (const id of this.rowIds(text)) ids.push(BigInt(id));
      offsets.push(BigInt(ids.length));
    }
    return { ids: BigInt64Array.from(ids), offsets: BigInt64Array.from(offsets) };
  }

  /** Words, each followed by its character n-grams, and then the word n-grams. */
  rowIds(text) {
    const ids = [], hashes = [], bucket = BigInt(this.rules.bucket);
    for (const token of this.tokens(text)) {
      if (!this.seen.has(token)) {
        if (this.seen.size >= CACHED_WORDS) this.seen.clear();
        this.seen.set(token, [this.wordIds(token), BigInt(hash32(utf8.encode(token)))]);
      }
      const [wordIds, hash] = this.seen.get(token);
      for (const id of wordIds) ids.push(id);
      hashes.push(hash);
    }
    for (let start = 0; start < hashes.length; start++) {
      let state = hashes[start];
      for (const hash of hashes.slice(start + 1, start + this.rules.word_ngrams)) {
        state = BigInt.asUintN(64, state * 116049371n + hash);
        const row = this.bucketRow(Number(state % bucket));
        if (row >= 0) ids.push(row);
      }
    }
    return ids;
  }

  /** The row of a word, and those of the character n-grams of <word>. */
  wordIds(token) {
    const ids = this.words.has(token) ? [this.words.get(token)] : [];
    if (token === this.tokenizer.end) return ids;
    const { minn, maxn, bucket } = this.rules, characters = Array.from(`<${token}>`);
    for (let start = 0; start < characters.length; start++)
      for (let length = Math.max(minn, 1); length <= Math.min(maxn, characters.length - start); length++) {
        if (length === 1 && (start === 0 || start === characters.length - 1)) continue;
        const ngram = characters.slice(start, start + length).join("");
        const row = this.bucketRow((hash32(utf8.encode(ngram)) >>> 0) % bucket);
        if (row >= 0) ids.push(row);
      }
    return ids;
  }

  /** The row of a bucket; -1 if it has none. */
  bucketRow(bucket) {
    if (!this.buckets) return this.firstBucket + bucket;
    let low = 0, high = this.buckets.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.buckets[middle] < bucket) low = middle + 1;
      else high = middle;
    }
    return this.buckets[low] === bucket ? this.firstBucket + low : -1;
  }

  /** Rewrite a text, and split it. */
  tokens(text) {
    if (/\p{Surrogate}/u.test(text)) throw new Error("the text has half a character (a lone surrogate)");
    for (const [pattern, word] of this.rewriting) text = text.replace(pattern, word);
    if (this.cased) text = text.replace(this.cased, (part) => part.toLowerCase());
    for (const [part, other] of this.tokenizer.replace ?? []) text = text.replaceAll(part, other);
    if (this.classes) return this.unicodeTokens(text);
    const { token, tokenizer: { end, label_prefix: prefix } } = this;
    const tokens = text.match(token) ?? [];
    if (end === undefined) return tokens;
    const until = tokens.indexOf(end);
    const words = until < 0 ? tokens : tokens.slice(0, until);
    return [...words.filter((word) => !word.startsWith(prefix)), end];
  }

  /** The words of UAX #29; letters of scripts without spaces alone and in pairs. */
  unicodeTokens(text) {
    const characters = Array.from(text), tokens = [], places = [];
    const classes = characters.map((character) => this.classes[character.codePointAt(0)]);
    let visible = "";  // marks and invisible characters belong to what precedes them
    classes.forEach((letter, place) => {
      const before = place ? classes[place - 1] : "n";
      if ("efz".includes(letter) && !"rnl".includes(before)) return;
      if (before === "z" && "pm".includes(letter)) letter = letter.toUpperCase();
      else if ("efz".includes(before) && letter === " ") letter = "t";
      places.push(place);
      visible += letter;
    });
    places.push(characters.length);
    const push = (start, end) => tokens.push(characters.slice(places[start], places[end]).join(""));
    let apart = [0, -1];  // the last letter of a script without spaces
    for (const { 0: segment, index } of visible.matchAll(this.token)) {
      const end = index + segment.length;
      if (segment[0] === "c") {
        if (apart[1] === index) push(apart[0], end);
        apart = [index, end];
      }
      if (!"rnlefz t".includes(segment[0])) push(index, end);
    }
    return tokens;
  }
}

/** A model and its encoder. */
export class Scorer {
  static async load(ort, model, document, options) {
    const scorer = new Scorer();
    scorer.ort = ort;
    scorer.encoder = new Encoder(document);
    scorer.labels = document.labels;
    scorer.session = await ort.InferenceSession.create(model, options);
    return scorer;
  }

  /** The probability of each class, a Float32Array for each text. */
  async probabilities(texts) {
    const tensors = Object.entries(this.encoder.encode(texts)).map(
      ([name, values]) => [name, new this.ort.Tensor("int64", values, [values.length])]);
    const { probabilities } = await this.session.run(Object.fromEntries(tensors), ["probabilities"]);
    const classes = this.labels.length;
    return texts.map((_, row) => probabilities.data.slice(row * classes, (row + 1) * classes));
  }

  /** The most likely label of each text. */
  async predict(texts) {
    return (await this.probabilities(texts)).map((row) => {
      const best = row.reduce((first, value, index) => value > row[first] ? index : first, 0);
      return { label: this.labels[best], probability: row[best] };
    });
  }
}
