/** Drawn people for pictures of the page: a moving canvas as a camera. */

const WIDTH = 640;
const HEIGHT = 360;

/** A stream that shows a stylised person on a background of its own. */
export function portrait(index: number): MediaStream {
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("no canvas");
  const hue = (index * 47 + 200) % 360;
  const draw = (): void => {
    person(context, hue, index, performance.now() / 1000);
  };
  draw();
  window.setInterval(draw, 100);
  return canvas.captureStream(10);
}

function person(context: CanvasRenderingContext2D, hue: number, index: number, at: number): void {
  const wall = context.createLinearGradient(0, 0, WIDTH, HEIGHT);
  wall.addColorStop(0, `hsl(${hue} 30% 78%)`);
  wall.addColorStop(1, `hsl(${(hue + 30) % 360} 28% 58%)`);
  context.fillStyle = wall;
  context.fillRect(0, 0, WIDTH, HEIGHT);
  context.fillStyle = `hsl(${(hue + 15) % 360} 25% 68%)`;
  context.fillRect(430, 40, 150, 110);
  const sway = Math.sin(at + index) * 5;
  const skin = ["#f2cfae", "#d9a77c", "#a8744c", "#7b4f32", "#eab98f"][index % 5] ?? "#d9a77c";
  const hair = ["#2b211c", "#5a3a22", "#1a1a1f", "#8a5a2b", "#3c3c44"][(index * 3) % 5] ?? "#2b211c";
  context.fillStyle = `hsl(${(hue + 160) % 360} 35% 38%)`;
  ellipse(context, 320 + sway, 400, 170, 130);
  context.fillStyle = skin;
  context.fillRect(290 + sway, 225, 60, 60);
  context.fillStyle = hair;
  ellipse(context, 320 + sway, 150, 88, index % 2 === 0 ? 96 : 84);
  if (index % 2 === 0) context.fillRect(234 + sway, 150, 172, 110);
  context.fillStyle = skin;
  ellipse(context, 320 + sway, 172, 72, 86);
  context.fillStyle = hair;
  ellipse(context, 320 + sway, 104, 78, 34);
  context.fillStyle = "#22252b";
  ellipse(context, 294 + sway, 172, 6, 7);
  ellipse(context, 346 + sway, 172, 6, 7);
  context.strokeStyle = "#8c3f3f";
  context.lineWidth = 5;
  context.beginPath();
  context.arc(320 + sway, 200, 26, 0.25 * Math.PI, 0.75 * Math.PI);
  context.stroke();
}

function ellipse(context: CanvasRenderingContext2D, x: number, y: number, width: number, height: number): void {
  context.beginPath();
  context.ellipse(x, y, width, height, 0, 0, 2 * Math.PI);
  context.fill();
}

/** A stream that shows a drawn screen: a window with a chart. */
export function sharedScreen(): MediaStream {
  const canvas = document.createElement("canvas");
  canvas.width = 1280;
  canvas.height = 720;
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("no canvas");
  const draw = (): void => {
    context.fillStyle = "#eef1f6";
    context.fillRect(0, 0, 1280, 720);
    context.fillStyle = "#ffffff";
    context.fillRect(60, 50, 1160, 620);
    context.fillStyle = "#2f3b52";
    context.font = "600 40px sans-serif";
    context.fillText("Plan of the week", 110, 130);
    [320, 210, 380, 280, 430].forEach((height, index) => {
      context.fillStyle = `hsl(${220 + index * 18} 55% 58%)`;
      context.fillRect(130 + index * 210, 620 - height, 130, height);
    });
  };
  draw();
  window.setInterval(draw, 500);
  return canvas.captureStream(5);
}
