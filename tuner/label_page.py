"""The page of `tuner label`: one picture at a time, and a key for everything that can be said.

All of it is in this one text: the page loads nothing but pictures and labels from its own server.
"""

from __future__ import annotations

import base64
import hashlib

_STYLE = """
html, body { height: 100%; margin: 0; }
body { display: flex; flex-direction: column; background: #262626; color: #eee;
  font: 16px/1.4 system-ui, sans-serif; }
main { flex: 1; min-height: 0; padding: 8px; }
main img { width: 100%; height: 100%; object-fit: contain; display: block; }
#problem { margin: 0; padding: 8px 12px; background: #8c1d18; color: #fff; }
footer { padding: 8px 12px 12px; background: #1a1a1a; }
footer p { margin: 0 0 6px; display: flex; gap: 12px; align-items: center; }
#name { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
nav { display: flex; flex-wrap: wrap; gap: 6px; }
button { padding: 6px 10px; border: 1px solid #777; border-radius: 6px; background: #333;
  color: inherit; font: inherit; cursor: pointer; }
button:hover { background: #444; }
button[aria-pressed="true"] { background: #f2c14e; border-color: #f2c14e; color: #111; }
button[data-key="1"][aria-pressed="true"] { background: #7bc47f; border-color: #7bc47f; }
kbd { font: inherit; font-weight: 700; margin-right: 4px; }
"""

_SCRIPT = """
"use strict";
const byId = (id) => document.getElementById(id);
const buttons = [...document.querySelectorAll("button")];
const moves = { ArrowRight: "next", Enter: "next", " ": "next", ArrowLeft: "back",
  Backspace: "back", u: "undo" };
const images = new Map();
let run = "", pictures = [], at = 0, queue = Promise.resolve();

// Each picture is an element of its own: while one loads, the one before it is not in its place.
function image(index) {
  if (!pictures[index]) return null;
  if (!images.has(index)) {
    const one = new Image();
    one.onerror = () => { one.alt = `${pictures[index].name} cannot be shown`; };
    one.src = `/picture/${index}`;
    images.set(index, one);
  }
  return images.get(index);
}

function show(index) {
  at = Math.max(0, Math.min(index, pictures.length - 1));
  for (const old of images.keys()) if (Math.abs(old - at) > 2) images.delete(old);
  byId("frame").replaceChildren(image(at));
  image(at + 1);
  image(at - 1);
  const { name, label } = pictures[at];
  const done = pictures.filter((one) => one.label.faults !== null).length;
  byId("place").textContent = `${at + 1} / ${pictures.length}`;
  byId("name").textContent = name;
  byId("done").textContent = `${done} of ${pictures.length} labelled`
    + (done === pictures.length ? ": all done, Ctrl-C in the terminal stops" : "");
  byId("bar").max = pictures.length;
  byId("bar").value = done;
  for (const one of buttons) {
    const { fault, sex, key } = one.dataset;
    let on = null;
    if (fault) on = label.faults !== null && label.faults.includes(fault);
    if (sex) on = label.sex === sex;
    if (key === "1") on = label.faults !== null && !label.faults.length;
    if (on !== null) one.setAttribute("aria-pressed", on);
  }
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("not saved: tuner label does not answer; is it still running?");
  }
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}

async function act(key) {
  byId("problem").hidden = true;
  if (key === "next" || key === "back") return show(key === "next" ? at + 1 : at - 1);
  const got = await ask(key === "undo" ? "/undo" : "/press", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ run, index: at, key }),
  });
  pictures[got.index].label = got.label;
  show(key === "1" ? got.index + 1 : got.index);
}

function tell(error) {
  byId("problem").textContent = error.message;
  byId("problem").hidden = false;
}

// One after the other, each on the picture that is shown when its turn comes.
function press(key) {
  queue = queue.then(() => act(key)).catch(tell);
}

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.metaKey || event.ctrlKey) {
    if (event.key !== "z" || event.altKey) return;
    event.preventDefault();
    return press("undo");
  }
  const onButton = event.target instanceof HTMLButtonElement;
  if (onButton && (event.key === "Enter" || event.key === " ")) return;
  // By its place, as some keyboards have their digits above other characters.
  const digit = /^Digit([0-5])$/.exec(event.code);
  const typed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const key = digit ? digit[1] : moves[typed] || (/^[0-5fm]$/.test(typed) ? typed : null);
  if (!key) return;
  event.preventDefault();
  if (!event.repeat || key === "next" || key === "back") press(key);
});

for (const one of buttons) {
  one.addEventListener("click", (event) => {
    if (event.detail) one.blur();  // by mouse: the space bar then goes on, and does not click again
    press(one.dataset.key);
  });
}

queue = ask("/state").then((state) => {
  ({ run, pictures } = state);
  show(state.start);
}).catch(tell);
"""

PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>tuner label</title>
<style>{_STYLE}</style>
</head>
<body>
<main id="frame"></main>
<p id="problem" role="alert" hidden></p>
<footer>
<p><span id="place"></span><span id="name"></span><span id="done" role="status"></span>
<progress id="bar" aria-label="labelled"></progress></p>
<nav aria-label="labels">
<button data-key="back"><kbd>&larr;</kbd>back</button>
<button data-key="1"><kbd>1</kbd>sound, next</button>
<button data-key="2" data-fault="wrong_limbs"><kbd>2</kbd>wrong limb count</button>
<button data-key="3" data-fault="unreadable_pose"><kbd>3</kbd>unreadable pose</button>
<button data-key="4" data-fault="undressed"><kbd>4</kbd>undressed</button>
<button data-key="5" data-fault="picture_fault"><kbd>5</kbd>picture fault</button>
<button data-key="f" data-sex="female"><kbd>F</kbd>woman</button>
<button data-key="m" data-sex="male"><kbd>M</kbd>man</button>
<button data-key="0"><kbd>0</kbd>clear</button>
<button data-key="undo"><kbd>U</kbd>undo</button>
<button data-key="next"><kbd>&rarr;</kbd>next</button>
</nav>
</footer>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _source(text: str) -> str:
    """How a content security policy names an inline text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; script-src {_source(_SCRIPT)}; style-src {_source(_STYLE)}; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Nothing but the page's own script and style runs, and nothing is fetched from elsewhere."""
