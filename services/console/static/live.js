// Keeps a page up to date: asks the console for its figures every so often, and not while nobody looks.

const at = document.getElementById("at");
const live = document.getElementById("live");
const alarms = document.querySelector("#alarms ul");

export function follow(address, milliseconds, show) {
  let asking = false;
  let timer = 0;

  async function turn() {
    clearTimeout(timer);
    if (document.hidden || asking) return;
    asking = true;
    let again = true;
    try {
      const answer = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(10000) });
      const figures = await answer.json();
      if (answer.ok) {
        at.textContent = figures.at;
        say("");
        alarm(figures.alarms);
        show(figures);
      } else {
        again = answer.status !== 401;
        say(figures.error);
      }
    } catch (error) {
      say(`The console does not answer; what is shown is old. (${error.name})`);
    } finally {
      asking = false;
      if (again) timer = setTimeout(turn, milliseconds);
    }
  }

  document.addEventListener("visibilitychange", turn);
  timer = setTimeout(turn, milliseconds);
}

// Shows a box's state, word, faults and figures.
export function fill(box, shown) {
  box.className = `box ${shown.state}`;
  put(box.querySelector(".word"), shown.word);
  const fault = box.querySelector(".fault");
  fault.hidden = shown.fault === "";
  put(fault, shown.fault);
  const figures = box.querySelector(".figures");
  figures.replaceChildren(...shown.figures.map(([label, text]) => {
    const pair = document.createElement("div");
    pair.append(element("dt", label), element("dd", text));
    return pair;
  }));
}

export function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

// Touches the page only where the text is another, so that a screen reader says only what is new.
export function put(where, text) {
  if (where && where.textContent !== text) where.textContent = text;
}

function say(text) {
  put(live, text === "" ? "" : ` · ${text}`);
  live.className = text === "" ? "" : "fault";
}

function alarm(said) {
  const shown = [...alarms.children].map((each) => each.textContent);
  if (shown.join("\n") !== said.join("\n")) alarms.replaceChildren(...said.map((each) => element("li", each)));
}
