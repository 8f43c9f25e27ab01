// Images for the model: its own examples, drawn ones, photos, and patches changed.

/** What is wrong with a picture, in one line for the reader. */
export class PictureError extends Error {}

const LUMA = [0.299, 0.587, 0.114]; // as when Pillow makes a photo grey

/** (C, H, W) bytes from the pixels of a canvas, as the model wants them. */
export function bytesOf({ data }, { height, width, channels }) {
  const bytes = new Uint8Array(channels * height * width);
  for (let i = 0; i < height * width; i++) {
    const rgb = [data[4 * i], data[4 * i + 1], data[4 * i + 2]];
    if (channels === 3)
      rgb.forEach((value, c) => (bytes[c * height * width + i] = value));
    else bytes[i] = Math.round(LUMA.reduce((sum, share, c) => sum + share * rgb[c], 0));
  }
  return bytes;
}

/** Bytes (C, H, W) as pixels of a canvas. */
export function pixelsOf(bytes, { height, width, channels }) {
  const pixels = new ImageData(width, height);
  const area = height * width;
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) {
      pixels.data[4 * i + c] = bytes[(channels === 3 ? c * area : 0) + i];
    }
    pixels.data[4 * i + 3] = 255;
  }
  return pixels;
}

/** Bytes of one size made to fit another, by the nearest pixel. */
export function fitBytes(bytes, from, to) {
  const fitted = new Uint8Array(to.channels * to.height * to.width);
  for (let c = 0; c < to.channels; c++) {
    const channel = Math.min(c, from.channels - 1) * from.height * from.width;
    for (let y = 0; y < to.height; y++) {
      const row = Math.floor((y * from.height) / to.height) * from.width;
      for (let x = 0; x < to.width; x++) {
        fitted[(c * to.height + y) * to.width + x] =
          bytes[channel + row + Math.floor((x * from.width) / to.width)];
      }
    }
  }
  return fitted;
}

/** The central square of a photo in the model's size. */
export async function readPhoto(file, sizes) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new PictureError(
      `${file.name} is no picture that this browser can read; choose a PNG or a JPEG.`,
    );
  }
  const { height, width } = sizes;
  const scale = Math.min(bitmap.width / width, bitmap.height / height);
  const [w, h] = [width * scale, height * scale];
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(
    bitmap,
    (bitmap.width - w) / 2,
    (bitmap.height - h) / 2,
    w,
    h,
    0,
    0,
    width,
    height,
  );
  bitmap.close();
  return bytesOf(context.getImageData(0, 0, width, height), sizes);
}

/** Whether the edge of an image is light, as that of most photos of things is. */
export function hasLightEdge(bytes, { height, width, channels }) {
  let [sum, count] = [0, 0];
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (y && x && y < height - 1 && x < width - 1) continue;
        sum += bytes[(c * height + y) * width + x];
        count++;
      }
    }
  }
  return sum / count > 127;
}

export const invert = (bytes) => bytes.map((byte) => 255 - byte);

/** Paint a round spot of light; all channels alike. */
export function dab(bytes, { height, width, channels }, y, x, value = 255) {
  const made = bytes.slice();
  const reach = Math.max(0.8, width / 28);
  for (let row = Math.floor(y - reach); row <= y + reach; row++) {
    for (let column = Math.floor(x - reach); column <= x + reach; column++) {
      const distance = Math.hypot(row - y, column - x);
      if (row < 0 || column < 0 || row >= height || column >= width) continue;
      if (distance > reach) continue;
      for (let c = 0; c < channels; c++)
        made[(c * height + row) * width + column] = value;
    }
  }
  return made;
}

/**
 * The image as the model gets it: patches in another order, and some of them grey.
 *
 * order: for each place, which patch of the image is there. grey: places.
 */
export function arrange(
  bytes,
  { height, width, channels, patchSize: P, columns },
  order,
  grey,
) {
  const made = bytes.slice();
  order.forEach((source, place) => {
    if (source === place && !grey.includes(place)) return;
    const [top, left] = [Math.floor(place / columns) * P, (place % columns) * P];
    const [fromTop, fromLeft] = [
      Math.floor(source / columns) * P,
      (source % columns) * P,
    ];
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < P; y++) {
        for (let x = 0; x < P; x++) {
          made[(c * height + top + y) * width + left + x] = grey.includes(place)
            ? 128
            : bytes[(c * height + fromTop + y) * width + fromLeft + x];
        }
      }
    }
  });
  return made;
}
