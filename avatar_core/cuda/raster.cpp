// CPU shells of the rasteriser. Faces are boxed once; then each thread draws all faces into rows of its own, in their
// order, so that the result does not depend on the number of threads.
#include "raster.h"

static const int LANES = 16;  // pixels tested at once
static const int WIDE = 32;  // columns of a box from which on a row's ends are computed first

static const float* corner(const float* positions, const i64* faces, i64 face, int k) {
  return positions + 3 * faces[3 * face + k];
}

// boxes[F][4]; all zero for a face that covers no pixel.
AC_API void raster_boxes(const float* positions, const i64* faces, i32 width, i32 height, i32* boxes, i64 begin,
                         i64 end) {
  for (i64 f = begin; f < end; ++f) {
    i32* box = boxes + 4 * f;
    const float *a = corner(positions, faces, f, 0), *b = corner(positions, faces, f, 1);
    if (!raster_box(a, b, corner(positions, faces, f, 2), width, height, box)) box[0] = box[1] = box[2] = box[3] = 0;
  }
}

// Narrows the columns [x0, x1) to those between the edges' crossings with the row, with a column to spare.
static void narrow(const RasterFace& face, const double* row, i32* x0, i32* x1) {
  for (int i = 0; i < 3; ++i) {
    double slope = face.edge[i][0], crossing = -row[i] / slope - 0.5;
    if (slope > 0 && crossing > *x0) *x0 = raster_clamp(crossing, *x1);
    if (slope < 0 && crossing < *x1 - 2) *x1 = raster_clamp(crossing + 2, *x1);
  }
}

static void draw(const RasterFace& face, i64 id, const i32* box, i32 y, i32 width, i64* face_id, float* bary,
                 float* inverse) {
  double row[3];
  for (int i = 0; i < 3; ++i) row[i] = raster_row(face.edge[i], y);
  i32 x0 = box[0], x1 = box[1];
  if (x1 - x0 > WIDE) narrow(face, row, &x0, &x1);
  for (i32 x = x0; x < x1; x += LANES) {
    double w0[LANES], w1[LANES], w2[LANES], nearness[LANES];
    for (int k = 0; k < LANES; ++k) {
      w0[k] = raster_weight(face.edge[0], row[0], x + k);
      w1[k] = raster_weight(face.edge[1], row[1], x + k);
      w2[k] = raster_weight(face.edge[2], row[2], x + k);
      nearness[k] = raster_inverse_depth(face, w0[k], w1[k], w2[k]);
    }
    int count = x1 - x < LANES ? x1 - x : LANES;
    for (int k = 0; k < count; ++k) {
      i64 at = (i64)y * width + x + k;
      if (!((float)nearness[k] > inverse[at])) continue;
      inverse[at] = (float)nearness[k];
      face_id[at] = id;
      raster_barycentrics(w0[k], w1[k], w2[k], bary + 3 * at);
    }
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
  for (i64 f = 0; f < count; ++f) {
    const i32* box = boxes + 4 * f;
    i32 first = box[2] > begin ? box[2] : (i32)begin, last = box[3] < end ? box[3] : (i32)end;
    if (first >= last) continue;
    RasterFace face;
    const float *a = corner(positions, faces, f, 0), *b = corner(positions, faces, f, 1);
    if (!raster_setup(a, b, corner(positions, faces, f, 2), &face)) continue;
    for (i32 y = first; y < last; ++y) draw(face, f, box, y, width, face_id, bary, depth);
  }
  for (i64 at = begin * width; at < end * width; ++at) depth[at] = 1 / depth[at];
}

// out[pixel][3], see raster_gradient; the range is of pixels.
AC_API void raster_backward(const float* positions, const i64* faces, const i64* face_id, const float* bary,
                            const float* depth, const float* grad_bary, const float* grad_depth, float* out, i64 begin,
                            i64 end) {
  for (i64 at = begin; at < end; ++at) {
    i64 f = face_id[at];
    RasterFace face;
    out[3 * at] = out[3 * at + 1] = out[3 * at + 2] = 0;
    if (f < 0) continue;
    const float *a = corner(positions, faces, f, 0), *b = corner(positions, faces, f, 1);
    if (!raster_setup(a, b, corner(positions, faces, f, 2), &face)) continue;
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
