"use strict";
(() => {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const colors = bytes(document.body.dataset.colors); // red, green, blue of each step from -limit to +limit
  const steps = colors.length / 3;

  // Little-endian floats; the values are those of the array, whatever the machine.
  function decode(text, single) {
    const data = new DataView(bytes(text).buffer);
    const size = single ? 4 : 8;
    return Float64Array.from({ length: data.byteLength / size }, (_, k) =>
      single ? data.getFloat32(k * size, true) : data.getFloat64(k * size, true));
  }

  // The shortest decimal number that is read back as the same float.
  function shortest(v, single) {
    if (Object.is(v, -0)) return "-0";
    if (single && Number.isFinite(v)) {
      for (let digits = 1; digits < 10; digits++) {
        const text = v.toPrecision(digits);
        if (Math.fround(Number(text)) === v) return String(Number(text));
      }
    }
    return String(v);
  }

  class Heatmap {
    constructor(figure, group) {
      this.group = group;
      this.view = figure.querySelector(".view");
      this.mark = this.view.querySelector("i");
      this.shown = figure.querySelector(".value");
      const d = this.view.dataset;
      this.title = d.title;
      [this.rows, this.columns] = d.shape.split(",").map(Number);
      this.single = d.type === "float32";
      this.values = decode(d.values, this.single);
      this.parts = d.parts === undefined ? null : decode(d.parts, d.partType === "float32");
      this.partSingle = d.partType === "float32";
      this.kind = d.kind;
      this.limit = Number(d.limit);
      this.low = Number(d.low);
      this.high = Number(d.high);
      this.paint();
      this.listen();
    }

    color(k) {
      const v = this.values[k];
      if (this.kind === "signed") {
        if (Number.isNaN(v)) return [217, 217, 217];
        const step = Math.min(steps - 1, Math.max(0, Math.floor(((v / this.limit + 1) / 2) * steps)));
        return colors.subarray(3 * step, 3 * step + 3);
      }
      const unit = (u) => 255 * Math.min(1, Math.max(0, (u - this.low) / (this.high - this.low || 1)));
      if (this.kind === "color") return [0, 1, 2].map((c) => unit(this.parts[c * this.rows * this.columns + k]));
      const grey = 255 - unit(v);
      return [grey, grey, grey];
    }

    paint() {
      const canvas = this.view.querySelector("canvas");
      canvas.width = this.columns;
      canvas.height = this.rows;
      const image = new ImageData(this.columns, this.rows);
      for (let k = 0; k < this.rows * this.columns; k++) {
        image.data.set(this.color(k), 4 * k);
        image.data[4 * k + 3] = 255;
      }
      canvas.getContext("2d").putImageData(image, 0, 0);
    }

    listen() {
      const point = (event) => {
        const box = this.view.getBoundingClientRect();
        const inside = (part, count) => Math.min(count - 1, Math.max(0, Math.floor(part * count)));
        this.group.move(this, inside((event.clientY - box.top) / box.height, this.rows),
          inside((event.clientX - box.left) / box.width, this.columns));
      };
      this.view.addEventListener("pointerdown", point);
      this.view.addEventListener("pointermove", point);
      this.view.addEventListener("focus", () => {
        if (!this.view.matches(":focus-visible")) return; // the pointer says where
        if (this.at) this.group.move(this, ...this.at);
        else this.largest();
      });
      this.view.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.altKey || event.metaKey) return;
        const [r, c] = this.at || [0, 0];
        const to = {
          ArrowUp: [r - 1, c], ArrowDown: [r + 1, c], ArrowLeft: [r, c - 1], ArrowRight: [r, c + 1],
          Home: [r, 0], End: [r, this.columns - 1], PageUp: [0, c], PageDown: [this.rows - 1, c],
        }[event.key];
        if (event.key === "Enter") this.largest();
        else if (to) this.group.move(this, Math.min(this.rows - 1, Math.max(0, to[0])), Math.min(this.columns - 1, Math.max(0, to[1])));
        else return;
        event.preventDefault();
      });
    }

    largest() {
      let best = 0;
      this.values.forEach((v, k) => { if (Math.abs(v) > Math.abs(this.values[best]) || Number.isNaN(this.values[best])) best = k; });
      this.group.move(this, Math.floor(best / this.columns), best % this.columns);
    }

    show(r, c) {
      this.at = [r, c];
      const k = r * this.columns + c;
      const s = this.mark.style;
      s.display = "block";
      s.left = `${(100 * c) / this.columns}%`;
      s.top = `${(100 * r) / this.rows}%`;
      s.width = `${100 / this.columns}%`;
      s.height = `${100 / this.rows}%`;
      const size = this.rows * this.columns;
      const parts = this.parts && Array.from({ length: this.parts.length / size }, (_, p) =>
        shortest(this.parts[p * size + k], this.partSingle));
      this.text = this.kind === "color" ? parts.join(" ") : shortest(this.values[k], this.single);
      this.shown.textContent = parts && this.kind !== "color" && parts.length <= 8 ? `${this.text} (channels ${parts.join(", ")})` : this.text;
    }
  }

  class Group {
    constructor(section) {
      this.readout = section.querySelector(".readout");
      this.names = section.dataset.names.split("\n");
      this.maps = [...section.querySelectorAll(".map")].map((figure) => new Heatmap(figure, this));
    }

    move(map, r, c) {
      for (const other of this.maps) {
        if (other.rows === map.rows && other.columns === map.columns) other.show(r, c);
      }
      const place = (map.rows > 1 ? [[this.names[0], r], [this.names[1], c]] : [[this.names[1], c]])
        .map(([name, at]) => `${name} ${at}`).join(", ");
      this.readout.textContent = `${place}: ${map.text} (${map.title})`;
    }
  }

  for (const section of document.querySelectorAll(".heatmaps")) new Group(section);

  for (const section of document.querySelectorAll(".words")) {
    const readout = section.querySelector(".readout");
    const tokens = [...section.querySelectorAll(".token")];
    tokens.forEach((token, k) => {
      const show = () => { readout.textContent = `${token.textContent}: ${token.dataset.value}`; };
      for (const event of ["focus", "pointerenter", "pointerdown"]) token.addEventListener(event, show);
      token.addEventListener("keydown", (event) => {
        const to = { ArrowLeft: k - 1, ArrowRight: k + 1, Home: 0, End: tokens.length - 1 }[event.key];
        if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
        event.preventDefault();
        const next = tokens[Math.min(tokens.length - 1, Math.max(0, to))];
        token.tabIndex = -1;
        next.tabIndex = 0;
        next.focus();
      });
    });
  }
})();
