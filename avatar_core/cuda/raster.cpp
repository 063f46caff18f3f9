// CPU shells of the rasteriser. Faces are boxed once; then each thread draws all faces into rows of its own, in their
// order, so that the result does not depend on the number of threads. Many faces are set up at once, and many pixels of
// a face are tested at once: loops over LANES become vector instructions.
#include "raster.h"

static const int SIDE = 4;            // of the tile of pixels that is tested at once
static const int LANES = SIDE * SIDE;  // pixels of a tile; faces set up at once

// boxes[F][4], see raster_box.
AC_API void raster_boxes(const float* positions, const i64* faces, i32 width, i32 height, i32* boxes, i64 begin,
                         i64 end) {
  for (i64 first = begin; first < end; first += LANES) {
    int count = end - first < LANES ? (int)(end - first) : LANES;
    RasterCorners<LANES> corners = {};
    i32 box[4][LANES];
    for (int n = 0; n < count; ++n) raster_take(positions, faces + 3 * (first + n), n, &corners);
    for (int n = 0; n < LANES; ++n) raster_box(corners, n, width, height, box);
    for (int n = 0; n < count; ++n)
      for (int d = 0; d < 4; ++d) boxes[4 * (first + n) + d] = box[d][n];
  }
}

// False if the tile with its first pixel at (x, y) lies wholly beyond an edge. Weights rise or fall with x and with y,
// also as they are rounded, so one of the tile's corners has each edge's greatest.
static bool touches(const RasterFace& face, i32 x, i32 y) {
  bool all = true;
  for (int i = 0; i < 3; ++i) {
    i32 far_x = face.edge[i][0][0] > 0 ? x + SIDE - 1 : x, far_y = face.edge[i][1][0] > 0 ? y + SIDE - 1 : y;
    all &= raster_weight(face, i, far_x, far_y) > face.least[i][0];
  }
  return all;
}

// Draws the part of a tile that lies before column x_end and row y_end.
static void draw(const RasterFace& face, i64 id, i32 x, i32 y, i32 x_end, i32 y_end, i32 width, i64* face_id,
                 float* bary, float* inverse) {
  double w0[LANES], w1[LANES], w2[LANES];
  float nearness[LANES];
  u32 covered = 0;
  for (int k = 0; k < LANES; ++k) {
    i32 at_x = x + k % SIDE, at_y = y + k / SIDE;
    w0[k] = raster_weight(face, 0, at_x, at_y);
    w1[k] = raster_weight(face, 1, at_x, at_y);
    w2[k] = raster_weight(face, 2, at_x, at_y);
    nearness[k] = (float)raster_inverse_depth(face, w0[k], w1[k], w2[k]);
    covered |= (nearness[k] > 0) & (at_x < x_end) & (at_y < y_end) ? 1u << k : 0;
  }
  for (; covered; covered &= covered - 1) {
    int k = __builtin_ctz(covered);
    i64 at = (i64)(y + k / SIDE) * width + x + k % SIDE;
    if (!(nearness[k] > inverse[at])) continue;
    inverse[at] = nearness[k];
    face_id[at] = id;
    raster_barycentrics(w0[k], w1[k], w2[k], bary + 3 * at);
  }
}

// The range is of rows. Writes face_id[H][W], bary[H][W][3], depth[H][W].
AC_API void raster_rows(const float* positions, const i64* faces, const i32* boxes, i64 count, i32 width, i64* face_id,
                        float* bary, float* depth, i64 begin, i64 end) {
  for (i64 at = begin * width; at < end * width; ++at) {
    face_id[at] = -1;
    bary[3 * at] = bary[3 * at + 1] = bary[3 * at + 2] = 0;
    depth[at] = 0;  // holds 1 / depth until the end
  }
  i64 id[LANES];
  RasterCorners<LANES> corners = {};
  RasterFaces<LANES> ready;
  for (i64 f = 0; f < count;) {
    int found = 0;
    for (; f < count && found < LANES; ++f)
      if (boxes[4 * f + 2] < end && boxes[4 * f + 3] > begin) {
        raster_take(positions, faces + 3 * f, found, &corners);
        id[found++] = f;
      }
    for (int n = 0; n < LANES; ++n) raster_setup(corners, n, &ready);
    for (int n = 0; n < found; ++n) {
      if (ready.scale[n] == 0) continue;
      RasterFace face = raster_pick(ready, n);
      const i32* box = boxes + 4 * id[n];
      i32 first = box[2] > begin ? box[2] : (i32)begin, last = box[3] < end ? box[3] : (i32)end;
      bool wide = box[1] - box[0] > 4 * SIDE;  // else it costs less to draw a tile than to ask whether to
      for (i32 y = first; y < last; y += SIDE)
        for (i32 x = box[0]; x < box[1]; x += SIDE)
          if (!wide || touches(face, x, y)) draw(face, id[n], x, y, box[1], last, width, face_id, bary, depth);
    }
  }
  for (i64 at = begin * width; at < end * width; ++at) depth[at] = 1 / depth[at];
}

// out[pixel][3], see raster_gradient; the range is of pixels.
AC_API void raster_backward(const float* positions, const i64* faces, const i64* face_id, const float* bary,
                            const float* depth, const float* grad_bary, const float* grad_depth, float* out, i64 begin,
                            i64 end) {
  for (i64 at = begin; at < end; ++at) {
    RasterFace face;
    out[3 * at] = out[3 * at + 1] = out[3 * at + 2] = 0;
    if (face_id[at] < 0 || !raster_load(positions, faces + 3 * face_id[at], &face)) continue;
    raster_gradient(face, bary + 3 * at, depth[at], grad_bary + 3 * at, grad_depth[at], out + 3 * at);
  }
}

AC_API void raster_interpolate(const float* attributes, const i64* faces, const i64* face_id, const float* bary,
                               i32 channels, float* out, i64 begin, i64 end) {
  for (i64 at = begin; at < end; ++at) {
    const i64* v = faces + 3 * face_id[at];
    float* o = out + at * channels;
    if (face_id[at] < 0)
      for (i32 k = 0; k < channels; ++k) o[k] = 0;
    else
      raster_mix(attributes + v[0] * channels, attributes + v[1] * channels, attributes + v[2] * channels,
                 bary + 3 * at, channels, o);
  }
}

AC_API void raster_interpolate_bary(const float* attributes, const i64* faces, const i64* face_id, const float* grad,
                                    i32 channels, float* grad_bary, i64 begin, i64 end) {
  for (i64 at = begin; at < end; ++at)
    for (int k = 0; k < 3; ++k)
      grad_bary[3 * at + k] =
          face_id[at] < 0
              ? 0
              : raster_dot(attributes + faces[3 * face_id[at] + k] * channels, grad + at * channels, channels);
}

// The range is of vertices, not of pixels: each thread looks at every pixel and adds to rows of its own only.
AC_API void raster_interpolate_vertices(const i64* faces, const i64* face_id, const float* bary, const float* grad,
                                        i64 pixels, i32 channels, float* grad_attributes, i64 begin, i64 end) {
  for (i64 at = 0; at < pixels; ++at) {
    if (face_id[at] < 0) continue;
    for (int k = 0; k < 3; ++k) {
      i64 v = faces[3 * face_id[at] + k];
      if (v < begin || v >= end) continue;
      float* row = grad_attributes + v * channels;
      for (i32 c = 0; c < channels; ++c) row[c] += bary[3 * at + k] * grad[at * channels + c];
    }
  }
}
