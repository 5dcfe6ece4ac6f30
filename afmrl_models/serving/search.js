// Drag, drop and paste a photo, see it, and keep it in the form from one search to the next.
"use strict";

const form = document.querySelector(".ask");
const drop = form.querySelector(".drop");
const input = form.querySelector("#image");
const preview = form.querySelector(".preview");
const hint = form.querySelector(".drop-text");
const remove = form.querySelector(".remove");
const answer = document.querySelector("#answer");

function tell(message) {
  const line = document.createElement("p");
  line.className = "error";
  line.setAttribute("role", "alert");
  line.textContent = message;
  answer.replaceChildren(line);
}

function show() {
  const file = input.files[0];
  if (preview.src) URL.revokeObjectURL(preview.src);
  preview.removeAttribute("src");
  if (file) preview.src = URL.createObjectURL(file);
  preview.hidden = remove.hidden = !file;
  hint.hidden = Boolean(file);
}

function take(files) {
  const photo = [...files].find((file) => file.type.startsWith("image/"));
  if (!photo) return tell("That is no photo.");
  const chosen = new DataTransfer();
  chosen.items.add(photo);
  input.files = chosen.files;
  show();
}

input.addEventListener("change", show);
remove.addEventListener("click", () => { input.value = ""; show(); input.focus(); });
document.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  take(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) take(event.clipboardData.files);
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const file = input.files[0];
  const most = Number(form.dataset.mostBytes);
  if (file && file.size > most) return tell(`The photo has ${file.size.toLocaleString("en")} bytes, at most ${most.toLocaleString("en")}.`);
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  document.body.classList.add("busy");
  try {
    const reply = await fetch("/", { method: "POST", body: new FormData(form) });
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    const fresh = page.querySelector("#answer");
    if (!fresh) throw new Error(`The server answered with status ${reply.status}.`);
    answer.replaceChildren(...fresh.childNodes);
    document.querySelector("footer").replaceWith(page.querySelector("footer"));
    history.replaceState(null, "", "/");
    answer.focus({ preventScroll: true });
  } catch (error) {
    tell(error instanceof TypeError ? "The server does not answer. Is `afmrl serve` still running?" : error.message);
  } finally {
    button.disabled = false;
    document.body.classList.remove("busy");
  }
});

show();
