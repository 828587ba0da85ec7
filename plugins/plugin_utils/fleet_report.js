/*
Copyright (c) 2026, the nixmac.linux_builder authors
GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later
*/
(function () {
  "use strict";
  var body = document.querySelector("#fleet tbody");
  var heads = Array.from(document.querySelectorAll("#fleet thead th"));
  var find = document.getElementById("find");
  var show = document.getElementById("show");
  var sort = document.getElementById("sort");
  var count = document.getElementById("count");
  // Read once: asking the document for 5,000 rows at each key would be felt.
  var macs = Array.from(body.rows).map(function (row) {
    return {
      row: row,
      place: Number(row.dataset.mac),
      marks: " " + row.dataset.marks + " ",
      text: row.textContent.toLowerCase(),
      bar: null,
      keys: Array.from(row.cells).map(function (cell) {
        var key = cell.dataset.sort;
        return key === undefined ? null : isNaN(Number(key)) || key === "" ? key : Number(key);
      })
    };
  });
  document.querySelectorAll("rect").forEach(function (bar) {
    macs[Number(bar.dataset.mac)].bar = bar;
  });
  var order = { column: 0, down: false };

  function compare(one, other) {
    var a = one.keys[order.column], b = other.keys[order.column];
    // The first column is the report's own order.
    if (order.column === 0) { a = one.place; b = other.place; }
    if (a === null || b === null) {
      // What is not known comes last, whichever way it is sorted.
      return (a === null) - (b === null) || one.place - other.place;
    }
    var result = typeof a === "number" && typeof b === "number" ? a - b : String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0;
    return (order.down ? -result : result) || one.place - other.place;
  }

  function arrange() {
    var all = document.createDocumentFragment();
    macs.slice().sort(compare).forEach(function (mac) { all.appendChild(mac.row); });
    body.appendChild(all);
    heads.forEach(function (head, index) {
      head.setAttribute("aria-sort", index !== order.column ? "none" : order.down ? "descending" : "ascending");
    });
    sort.value = String(order.column);
  }

  function filter() {
    var words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    var mark = show.value;
    var shown = 0;
    macs.forEach(function (mac) {
      var marked = !mark || mac.marks.indexOf(mark.slice(-1) === ":" ? " " + mark : " " + mark + " ") >= 0;
      var fits = marked && words.every(function (word) { return mac.text.indexOf(word) >= 0; });
      mac.row.hidden = !fits;
      if (mac.bar) { mac.bar.classList.toggle("out", !fits); }
      shown += fits;
    });
    count.textContent = shown + " of " + macs.length + " Macs";
    document.getElementById("nobody").hidden = shown > 0;
  }

  heads.forEach(function (head, index) {
    head.querySelector("button").addEventListener("click", function () {
      order = { column: index, down: order.column === index && !order.down };
      arrange();
    });
  });
  sort.addEventListener("change", function () {
    order = { column: Number(sort.value), down: false };
    arrange();
  });
  find.addEventListener("input", filter);
  find.addEventListener("change", filter);
  show.addEventListener("change", filter);
  document.getElementById("filters").addEventListener("submit", function (event) { event.preventDefault(); });
  document.getElementById("save").addEventListener("click", function () {
    var link = document.createElement("a");
    var file = new Blob([document.getElementById("data").textContent], { type: "application/json" });
    link.href = URL.createObjectURL(file);
    link.download = "fleet.json";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  // A browser may bring back what was typed before a reload.
  filter();
})();
