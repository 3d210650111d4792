// SPDX-License-Identifier: Apache-2.0
// The page of edgekit serve: sends an image to one or two models, and shows their answers.
"use strict";

const TOKEN = new URLSearchParams(location.hash.slice(1)).get("token") || "";
const HEADERS = TOKEN ? { Authorization: `Bearer ${TOKEN}` } : {};
const PANELS = [...document.querySelectorAll(".answer")];
const CAMERA_QUALITY = 0.85;
const LONGEST_TABLE = 12;

let models = [];
let last = null; // the image that is shown
let camera = null; // a stream while the camera runs

const byId = (id) => document.getElementById(id);

function say(text, isBad = false) {
  byId("state").textContent = text;
  byId("state").classList.toggle("bad", isBad);
}

async function load() {
  const reply = await fetch("/api/models", { headers: HEADERS });
  if (!reply.ok) {
    say((await reply.json()).detail, true);
    return;
  }
  models = await reply.json();
  const names = models.map((each) => each.name);
  fill(byId("model0"), names);
  fill(byId("model1"), ["none", ...names]);
  byId("model1").value = names[1] || "none";
  for (const panel of PANELS) describe(panel);
  say(`${names.length} ${names.length === 1 ? "model" : "models"} on ${models[0].device}`);
}

function fill(select, names) {
  select.replaceChildren(...names.map((name) => new Option(name, name)));
}

function modelOf(panel) {
  return models.find((each) => each.name === panel.querySelector("select").value);
}

function describe(panel) {
  const model = modelOf(panel);
  const text = model ? `${model.task}, input ${model.input.join("x")}, ${model.device}` : "";
  panel.querySelector(".facts").textContent = text;
  if (!model) clear(panel);
}

function clear(panel) {
  panel.querySelector("img").hidden = true;
  panel.querySelector(".times").textContent = "";
  panel.querySelector("table").replaceChildren();
}

async function answer(image) {
  last = image;
  await Promise.all(PANELS.filter(modelOf).map((panel) => answerIn(panel, image)));
}

async function answerIn(panel, image) {
  const form = new FormData();
  form.append("image", image, "image");
  const score = Number(byId("score").value) || 0;
  const path = `/api/models/${encodeURIComponent(modelOf(panel).name)}/answer`;
  const start = performance.now();
  let reply;
  let found;
  try {
    const query = `?picture=true&min_score=${score}`;
    reply = await fetch(path + query, { method: "POST", body: form, headers: HEADERS });
    found = await reply.json();
  } catch (error) {
    say(`no answer: ${error.message}`, true);
    return;
  }
  if (!reply.ok) {
    clear(panel);
    say(typeof found.detail === "string" ? found.detail : "the request is wrong", true);
    return;
  }
  show(panel, found, performance.now() - start);
}

function show(panel, found, elapsed) {
  const picture = panel.querySelector("img");
  picture.hidden = !found.picture;
  if (found.picture) picture.src = found.picture;
  picture.alt = `The answer of ${found.model}`;
  panel.querySelector(".times").textContent =
    `inference ${found.inference_ms.toFixed(1)} ms, whole answer ${found.total_ms.toFixed(1)} ms, ` +
    `seen here after ${elapsed.toFixed(0)} ms`;
  const rows = rowsOf(found).slice(0, LONGEST_TABLE);
  panel.querySelector("table").replaceChildren(...rows.map(row));
  say(`answered at ${new Date().toLocaleTimeString()}`);
}

function rowsOf(found) {
  const named = (each) => each.label || `class ${each.index}`;
  const lists = [
    found.top.map((each) => [named(each), each.score.toFixed(3)]),
    found.objects.map((each) => [named(each), each.score.toFixed(3)]),
    found.mask.map((each) => [named(each), `${(100 * each.share).toFixed(1)} %`]),
    found.people.map((each, index) => [each.label || `person ${index + 1}`, each.score.toFixed(3)]),
    found.values.map((value, index) => [`value ${index}`, value.toPrecision(5)]),
  ];
  const rows = lists.flat();
  if (rows.length) return rows;
  if (found.task !== "none") return [["nothing found", ""]];
  return found.outputs.map((each) => [each.name, `${each.min} to ${each.max}`]);
}

function row(cells) {
  const line = document.createElement("tr");
  line.append(
    ...cells.map((text) => {
      const cell = document.createElement("td");
      cell.textContent = text;
      return cell;
    }),
  );
  return line;
}

async function toggleCamera() {
  const video = byId("video");
  if (camera) {
    for (const track of camera.getTracks()) track.stop();
    camera = null;
    video.hidden = true;
    byId("camera").textContent = "Start camera";
    return;
  }
  if (!navigator.mediaDevices) {
    say("the browser gives the camera only to https pages and to localhost", true);
    return;
  }
  try {
    camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    say(`no camera: ${error.message}`, true);
    return;
  }
  video.srcObject = camera;
  video.hidden = false;
  await video.play();
  byId("camera").textContent = "Stop camera";
  const canvas = document.createElement("canvas");
  while (camera) {
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    const image = await new Promise((done) => canvas.toBlob(done, "image/jpeg", CAMERA_QUALITY));
    if (image && camera) await answer(image);
  }
}

function listen() {
  const drop = byId("drop");
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) answer(event.dataTransfer.files[0]);
  });
  byId("file").addEventListener("change", (event) => {
    if (event.target.files.length) answer(event.target.files[0]);
  });
  byId("camera").addEventListener("click", toggleCamera);
  byId("score").addEventListener("change", () => last && !camera && answer(last));
  for (const panel of PANELS) {
    panel.querySelector("select").addEventListener("change", () => {
      describe(panel);
      if (last && !camera && modelOf(panel)) answerIn(panel, last);
    });
  }
}

listen();
load().catch((error) => say(`the server does not answer: ${error.message}`, true));
