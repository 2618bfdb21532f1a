// The start: what the server's models are, then the page is ready.

import { getModels } from "./api.js";
import { queue, state } from "./desk.js";
import { listen } from "./input.js";
import { refresh } from "./show.js";

async function start() {
  state.said = "";
  try {
    state.about = await getModels();
    state.model = queue.model = state.about.models[0].name;
  } catch (error) {
    state.said = error.message;
  }
  refresh();
}

queue.changed = refresh;
listen(start);
start();
