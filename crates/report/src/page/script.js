'use strict';
// A cursor that reads the lines of a plot, and the report's data as a file. Without this the page shows all the same.
(() => {
  const make = (name, attributes, parent) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return parent.appendChild(element);
  };
  const read = (line) => line.dataset.points.split(';').filter(Boolean).map((point) => {
    const [x, y, at, value] = point.split('|');
    return { x: Number(x), y: Number(y), at, value };
  });
  const nearest = (points, x) => points.reduce((best, point) => Math.abs(best.x - x) > Math.abs(point.x - x) ? point : best);

  document.querySelectorAll('svg.plot').forEach((plot) => {
    const lines = [...plot.querySelectorAll('path[data-points]')]
      .map((line) => ({ label: line.dataset.label, points: read(line) }))
      .filter((line) => line.points.length > 0);
    if (lines.length === 0) return;
    let tip = null;
    const clear = () => { if (tip) tip.remove(); tip = null; };
    plot.addEventListener('pointerleave', clear);
    plot.addEventListener('pointermove', (event) => {
      clear();
      const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse());
      const x = nearest(lines[0].points, place.x).x;
      const found = lines.slice(0, 12).map((line) => ({ label: line.label, point: nearest(line.points, x) }));
      tip = make('g', { class: 'tip' }, plot);
      make('line', { class: 'cursor', x1: x, x2: x, y1: 34, y2: 274 }, tip);
      const box = make('rect', { rx: 4 }, tip);
      const words = [found[0].point.at, ...found.map((one) => (one.label ? one.label + ': ' : '') + one.point.value)];
      const left = make('g', {}, tip);
      words.forEach((word, n) => { make('text', { x: 8, y: 16 + n * 15 }, left).textContent = word; });
      const size = left.getBBox();
      const width = size.width + 16;
      const at = x + width + 14 > 640 ? x - width - 8 : x + 8;
      left.setAttribute('transform', `translate(${at} 40)`);
      for (const [key, value] of Object.entries({ x: at, y: 40, width, height: 8 + words.length * 15 })) box.setAttribute(key, value);
    });
  });

  const button = document.getElementById('save');
  button.hidden = false;
  button.addEventListener('click', () => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([document.getElementById('report').textContent], { type: 'application/json' }));
    link.download = 'report.json';
    link.click();
    URL.revokeObjectURL(link.href);
  });
})();
