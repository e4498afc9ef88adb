/* The search of the book: finds sections, best first, by their words. Page, title, text and code of each stand in
 * searchsections.js; the words' stems and what happens before and after are Sphinx's own. */
(() => {
  "use strict";

  const MOST = 30; // results shown
  const WIDTH = 240; // of an excerpt, in letters
  const TITLE = 4, CODE = 0.4; // weight of a word in a title and in code, beside 1 in the text
  const PHRASE = 6; // for a title that says just what was asked; half of it where it is part of the title
  const SATURATION = 1.2, BY_LENGTH = 0.6; // as in BM25

  const stemmer = new Stemmer(), stems = new Map();
  function stem(word) {
    if (!stems.has(word)) stems.set(word, stemmer.stemWord(word));
    return stems.get(word);
  }
  const words = (text) => splitQuery(text.toLowerCase()).flatMap((word) => [word, ...word.split("_")]).filter(Boolean).map(stem);

  let sections, average;

  /** Count the words of every section, once. */
  function prepare() {
    sections = window.bookSections.flatMap(([place, page, parts]) => parts.map(([anchor, title, text, code]) => {
      const counts = new Map(), add = (list, weight) => list.forEach((word) => counts.set(word, (counts.get(word) ?? 0) + weight));
      const titleWords = words(title), textWords = words(text);
      add(titleWords, TITLE);
      add(textWords, 1);
      add([...new Set(words(code))], CODE);
      if (anchor) add(words(page), 0.1); // so that "tanh slope" finds a section about slopes on the page about tanh
      return { place, page, anchor, title, text, counts, length: textWords.length + 20 };
    }));
    average = sections.reduce((sum, one) => sum + one.length, 0) / sections.length;
  }

  /** Words of the query; a word that nobody uses stands for those that begin like it. */
  function groups(query) {
    const wanted = splitQuery(query.toLowerCase()).filter((word) => !stopwords.includes(word)).map(stem);
    const known = new Set(sections.flatMap((one) => [...one.counts.keys()]));
    return [...new Set(wanted)].map((word) => (known.has(word) ? [word] : [...known].filter((one) => word.length > 2 && one.startsWith(word))));
  }

  /** The sections that have most of the words, best first. */
  function find(query) {
    if (!sections) prepare();
    const asked = groups(query).filter((group) => group.length), phrase = splitQuery(query.toLowerCase()).join(" ");
    const count = (section, group) => group.reduce((sum, word) => sum + (section.counts.get(word) ?? 0), 0);
    const rarity = asked.map((group) => Math.log(1 + sections.length / (0.5 + sections.filter((one) => count(one, group)).length)));
    const found = sections.map((section) => {
      let score = 0, matched = 0;
      asked.forEach((group, k) => {
        const n = count(section, group);
        if (!n) return;
        matched += 1;
        score += (rarity[k] * n) / (n + SATURATION * (1 - BY_LENGTH + (BY_LENGTH * section.length) / average));
      });
      const title = splitQuery(section.title.toLowerCase()).join(" ");
      if (title === phrase) score += PHRASE;
      else if (` ${title} `.includes(` ${phrase} `)) score += PHRASE / 2;
      if (section.title === "References") score /= 2; // a list of papers seldom is the answer
      return { section, score, matched };
    }).filter(({ matched }) => matched);
    const most = Math.max(0, ...found.map(({ matched }) => matched));
    return found.filter(({ matched }) => matched === most).sort((a, b) => b.score - a.score).slice(0, MOST).map(({ section }) => section);
  }

  /** Part of a section's text around the first words that were asked for, which are marked. */
  function excerpt({ text }, query) {
    const asked = new Set(groups(query).flat()), paragraph = document.createElement("p");
    paragraph.className = "context";
    const hits = [...text.matchAll(/[\p{Letter}\p{Number}]+/gu)].filter(([word]) => asked.has(stem(word.toLowerCase())));
    let at = Math.max(0, (hits[0]?.index ?? 0) - WIDTH / 3);
    if (at) at = text.indexOf(" ", at) + 1;
    let end = at + WIDTH < text.length ? text.lastIndexOf(" ", at + WIDTH) : text.length;
    if (end <= at) end = text.length;
    if (at) paragraph.append("… ");
    for (const hit of hits.filter(({ index }) => index >= at && index < end)) {
      const mark = document.createElement("mark");
      mark.textContent = hit[0];
      paragraph.append(text.slice(at, hit.index), mark);
      at = hit.index + hit[0].length;
    }
    paragraph.append(text.slice(at, end), end < text.length ? " …" : "");
    return paragraph;
  }

  function show(section, query) {
    const item = document.createElement("li"), link = document.createElement("a");
    link.href = section.place + (section.anchor && `#${section.anchor}`);
    link.textContent = section.title;
    item.append(link);
    if (section.anchor) {
      const page = document.createElement("span");
      page.className = "search-page";
      page.textContent = section.page;
      item.append(" ", page);
    } else link.textContent = section.page;
    item.append(excerpt(section, query));
    Search.output.append(item);
  }

  Search.hasIndex = () => true;
  Search.query = (query) => {
    const found = find(query);
    Search._parseQuery(query); // remembers the words, which are marked on the page that is opened
    found.forEach((section) => show(section, query));
    _finishSearch(found.length);
    if (found.length) Search.status.textContent = `Search finished: ${found.length === MOST ? `the best ${MOST}` : found.length} section${found.length === 1 ? "" : "s"}, best first.`;
    else Search.status.textContent = "Search finished: no section has these words. The glossary and the page of symptoms list the words that this book uses.";
  };
  // Sphinx begins as soon as its own script is read; a query in the address waits since then.
  if (Search._queued_query !== null) Search.query(Search._queued_query);
})();
