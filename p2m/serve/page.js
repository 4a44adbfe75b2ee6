// Everything shown is set as text: what a model or a user writes is never markup.
const at = (id) => document.getElementById(id);

async function told(response) {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error || `the server answered ${response.status}`);
  return body;
}

function cell(row, name, content) {
  const td = document.createElement("td");
  td.className = name;
  td.append(content);
  row.append(td);
}

function show(answer) {
  at("best").textContent = answer.label ?? answer.text ?? JSON.stringify(answer);
  at("note").textContent = answer.truncated ? "The text is longer than the model reads: its end was cut." : "";
  const rows = Object.entries(answer.probabilities ?? {}).sort((a, b) => b[1] - a[1]);
  at("rows").replaceChildren(...rows.map(([label, share]) => {
    const row = document.createElement("tr"), bar = document.createElement("progress");
    bar.max = 1;
    bar.value = share;
    bar.setAttribute("aria-label", label);
    cell(row, "name", label);
    cell(row, "bar", bar);
    cell(row, "share", `${(100 * share).toFixed(1)}%`);
    return row;
  }));
  at("answer").hidden = false;
}

at("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("send").disabled = true;
  at("problem").textContent = "";
  at("answer").hidden = true;
  try {
    show(await told(await fetch("predict", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ text: at("text").value }),
    })));
  } catch (error) {
    at("problem").textContent = error.message;
  } finally {
    at("send").disabled = false;
  }
});

fetch("health").then(told).then((health) => {
  document.title = health.name;
  at("name").textContent = health.name;
  at("instruction").textContent = health.instruction;
  at("model").textContent = `${health.model}, ${health.format}`;
}).catch((error) => { at("problem").textContent = error.message; });
