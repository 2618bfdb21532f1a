// The page's own part: what Gradio delivers is put in place, and shown as its reader asks.
"use strict";
window.__gradio_mode__ = "app";

(() => {
  const find = (selector, within = document) => within.querySelector(selector);
  const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];
  const MESSAGE = '[data-testid="toast-text"]';
  const answers = new Map(); // of each image's id, what is shown of it
  let taken = 0; // parts of the present delivery that are in place
  let atWork = 0; // images of it without findings
  let sending = false; // files are on their way, and nothing came back yet
  let feeding = false; // they are just being handed to Gradio
  let busy = false; // a delivery has begun and not ended
  let awaited = null; // the first image of the last drop: shown when it comes
  const held = []; // files that were dropped while others were at work

  const say = (text, problem = false) => {
    const status = find("#status");
    status.textContent = text;
    status.classList.toggle("problem", problem);
  };

  const dropZone = () => find("#drop input[type=file]");
  const narrow = () => window.matchMedia("(max-width: 60rem)").matches;
  const ready = () => say("Ready");

  function setBusy(value) {
    busy = value;
    sending = false;
    const zone = find("#drop");
    if (zone) zone.inert = value;
    if (!value && held.length) feed(held.splice(0));
  }

  // Files, however they came, as if they were chosen in Gradio's own place for them.
  function feed(files) {
    const input = dropZone();
    if (!input) return;
    const carried = new DataTransfer();
    files.forEach((file) => carried.items.add(file));
    input.files = carried.files;
    sending = true;
    say("Sending");
    feeding = true;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    feeding = false;
  }

  function tooLarge(files) {
    const most = Number(document.body.dataset.mostBytes);
    const bytes = files.reduce((sum, file) => sum + file.size, 0);
    if (bytes <= most) return false;
    const inMiB = (value) => Math.ceil(value / 1048576).toLocaleString("en");
    say(
      `${files.length === 1 ? "This file has" : "These files have"} ${inMiB(bytes)} MiB; at most ` +
        `${inMiB(most)} MiB can be dropped at once. Drop fewer, or start with a larger --max-mb.`,
      true,
    );
    return true;
  }

  // Whatever went wrong on the way; images that wait for their findings will not get them.
  function fail(text) {
    findAll('#images [data-state="waiting"]').forEach((item) => item.remove());
    atWork = 0;
    held.length = 0;
    setBusy(false);
    say(text, true);
  }

  function tooMany(files) {
    const most = Number(document.body.dataset.mostFiles);
    if (files.length <= most) return false;
    say(`${files.length} files are too many: at most ${most} can be dropped at once.`, true);
    return true;
  }

  function choose(id) {
    awaited = null;
    findAll("#images li").forEach((item) => {
      const chosen = item.dataset.item === id;
      find("button", item).setAttribute("aria-current", String(chosen));
      if (chosen) item.scrollIntoView({ block: "nearest" });
    });
    answers.forEach((answer, other) => (answer.hidden = other !== id));
  }

  function showMap(answer, row) {
    const maps = findAll(".heat", answer);
    maps.forEach((map) => (map.hidden = map.dataset.row !== row));
    findAll("tbody tr", answer).forEach((line, index) => {
      line.classList.toggle("chosen", String(index) === row);
    });
    if (!("mapped" in answer.dataset)) return;
    const label = findAll("tbody tr", answer)[Number(row)].dataset.label;
    const found = maps.some((map) => map.dataset.row === row);
    find(".where", answer).textContent = found
      ? `Where the network looked for ${label}`
      : `Nothing in the image speaks for ${label}`;
  }

  const chosenRow = (answer) => find("input[type=radio]:checked", answer).value;

  const put = {
    queue(part) {
      const items = findAll("li", part.content);
      find("#images").append(...items.map((item) => item.cloneNode(true)));
      find("#list").hidden = false;
      find("#empty").hidden = true;
      atWork += items.length;
      awaited = items[0].dataset.item;
      setBusy(true);
      tellWork();
    },
    answer(part) {
      const { item: id, state, told } = part.dataset;
      const entry = find(`#images li[data-item="${id}"]`);
      atWork -= 1;
      tellWork();
      if (!entry) return; // it was removed from the list meanwhile
      const answer = find("article", part.content).cloneNode(true);
      answers.set(id, answer);
      answer.hidden = true;
      find("#answers").append(answer);
      entry.dataset.state = state;
      find(".state", entry).textContent = told;
      const picture = find(".xray", answer);
      if (picture) {
        const small = document.createElement("img");
        small.src = picture.src;
        small.alt = "";
        find(".thumb", entry).append(small);
        showMap(answer, chosenRow(answer));
      }
      if (id === awaited || !find('#images [aria-current="true"]')) choose(id);
    },
    maps(part) {
      const answer = answers.get(part.dataset.item);
      if (!answer) return;
      if (part.dataset.absent) {
        find(".where", answer).textContent = `No heat maps: ${part.dataset.absent}`;
        return;
      }
      findAll(".heat", part.content).forEach((map) => find(".film", answer).append(map.cloneNode()));
      answer.dataset.mapped = "";
      find(".tools", answer).hidden = false;
      setOpacity(find(".opacity", answer));
      showMap(answer, chosenRow(answer));
    },
  };

  const tellWork = () => {
    if (atWork > 0) say(`Scoring: ${atWork} ${atWork === 1 ? "image" : "images"} to go`);
    else say("Drawing heat maps");
  };

  function setOpacity(slider) {
    const answer = slider.closest("article");
    find(".film", answer).style.setProperty("--opacity", slider.value / 100);
    find("output", answer).textContent = `${slider.value} %`;
  }

  // A delivery only grows, until it is emptied at its end.
  function takeDelivery() {
    const parts = findAll("#delivery template");
    if (!parts.length) {
      taken = 0;
      if (busy) {
        atWork = 0;
        ready();
        setBusy(false);
      }
      return;
    }
    while (taken < parts.length) {
      const part = parts[taken];
      taken += 1;
      put[part.dataset.part](part);
    }
  }

  // Gradio says what failed in a corner that it takes back after some seconds.
  function takeMessages(nodes) {
    for (const node of nodes) {
      if (!(node instanceof Element)) continue;
      const told = node.matches(MESSAGE) ? node : find(MESSAGE, node);
      if (told) failUnlessGone(told.textContent.replace(/^HTTP \d+: /, "").trim());
    }
  }

  // Of a server that was ended Gradio says nothing, or nothing that helps.
  const askServer = () => fetch("./", { method: "HEAD", cache: "no-store" });
  const gone = () =>
    fail("The server does not answer. If it was ended, start it again and reload this page.");
  const failUnlessGone = (text) => askServer().then(() => fail(text), gone);

  function askWhetherThere() {
    if (sending || busy) askServer().catch(gone);
  }

  document.addEventListener("change", (event) => {
    const { target } = event;
    if (target.matches(".findings input[type=radio]")) showMap(target.closest("article"), target.value);
  });
  document.addEventListener("input", (event) => {
    if (event.target.matches(".opacity")) setOpacity(event.target);
  });
  document.addEventListener("click", (event) => {
    const item = event.target.closest("#images li");
    if (item && answers.has(item.dataset.item)) {
      choose(item.dataset.item);
      // Where the result lies below the list it would stay out of sight.
      if (narrow()) find("#main").scrollIntoView();
    }
    const line = event.target.closest(".findings tbody tr");
    if (line && !event.target.closest("label")) find("input", line).click();
    if (event.target.closest("#forget")) forget();
  });

  function forget() {
    answers.clear();
    find("#answers").replaceChildren();
    find("#images").replaceChildren();
    find("#list").hidden = true;
    find("#empty").hidden = false;
  }

  // A file beside the drop zone would otherwise take the browser away from the page.
  const carriesFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  const overPage = (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    event.stopPropagation();
    document.body.classList.add("dragging");
  };
  document.addEventListener("dragenter", overPage, true);
  document.addEventListener("dragover", overPage, true);
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener(
    "drop",
    (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      event.stopPropagation();
      document.body.classList.remove("dragging");
      offer([...event.dataTransfer.files]);
    },
    true,
  );
  document.addEventListener(
    "change",
    (event) => {
      if (!event.target.matches("#drop input[type=file]")) return;
      if (feeding) return;
      const files = [...event.target.files];
      event.stopImmediatePropagation();
      event.target.value = "";
      offer(files);
    },
    true,
  );

  function offer(files) {
    if (!files.length || tooMany(files) || tooLarge(files)) return;
    if (busy || sending) {
      held.push(...files);
      say(`${held.length} more to be sent when those at work are done`);
    } else feed(files);
  }

  document.addEventListener("DOMContentLoaded", () => {
    let there = false;
    new MutationObserver((changes) => {
      if (!there && dropZone()) {
        there = true;
        // Gradio makes its own part the document's main one.
        find("gradio-app main")?.setAttribute("role", "presentation");
        ready();
      }
      takeDelivery();
      for (const { addedNodes } of changes) takeMessages(addedNodes);
    }).observe(document.body, { childList: true, subtree: true });
    setInterval(askWhetherThere, 3000);
    // On a narrow screen the card would push the result out of sight.
    if (narrow()) find(".card").open = false;
  });
})();
