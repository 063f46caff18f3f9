// CUDA shells of the rasteriser. A pixel's nearest face is the greatest of keys (1 / depth, ~face): positive floats
// order like their bits, and of faces at one depth the first wins, as on the CPU.
#include "raster.h"

// A block a face (32 columns by 4 rows of threads). keys[H][W] start at zero.
extern "C" __global__ void raster_draw(const float* positions, const i64* faces, i32 width, i32 height, u64* keys) {
  i64 f = blockIdx.x;
  i32 box[4][1];
  RasterCorners<1> corners;
  RasterFace face;
  raster_take(positions, faces + 3 * f, 0, &corners);
  raster_box(corners, 0, width, height, box);
  raster_setup(corners, 0, &face);
  if (face.scale[0] == 0) return;
  for (i32 y = box[2][0] + threadIdx.y; y < box[3][0]; y += blockDim.y)
    for (i32 x = box[0][0] + threadIdx.x; x < box[1][0]; x += blockDim.x) {
      double w[3];
      for (int i = 0; i < 3; ++i) w[i] = raster_weight(face, i, x, y);
      float inverse = (float)raster_inverse_depth(face, w[0], w[1], w[2]);
      if (inverse > 0) atomicMax(keys + (i64)y * width + x, (u64)__float_as_uint(inverse) << 32 | (u32)~(u32)f);
    }
}

extern "C" __global__ void raster_resolve(const float* positions, const i64* faces, const u64* keys, i32 width,
                                          i64 pixels, i64* face_id, float* bary, float* depth) {
  i64 at = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (at >= pixels) return;
  RasterFace face;
  face_id[at] = -1;
  bary[3 * at] = bary[3 * at + 1] = bary[3 * at + 2] = 0;
  depth[at] = 1 / __uint_as_float((u32)(keys[at] >> 32));
  u32 f = ~(u32)keys[at];
  if (keys[at] == 0 || !raster_load(positions, faces + 3 * (i64)f, &face)) return;
  face_id[at] = f;
  double w[3];
  for (int i = 0; i < 3; ++i) w[i] = raster_weight(face, i, (i32)(at % width), (i32)(at / width));
  raster_barycentrics(w[0], w[1], w[2], bary + 3 * at);
}

extern "C" __global__ void raster_backward(const float* positions, const i64* faces, const i64* face_id,
                                           const float* bary, const float* depth, const float* grad_bary,
                                           const float* grad_depth, float* out, i64 pixels) {
  i64 at = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (at >= pixels) return;
  RasterFace face;
  out[3 * at] = out[3 * at + 1] = out[3 * at + 2] = 0;
  if (face_id[at] < 0 || !raster_load(positions, faces + 3 * face_id[at], &face)) return;
  raster_gradient(face, bary + 3 * at, depth[at], grad_bary + 3 * at, grad_depth[at], out + 3 * at);
}

extern "C" __global__ void raster_interpolate(const float* attributes, const i64* faces, const i64* face_id,
                                              const float* bary, i32 channels, float* out, i64 pixels) {
  i64 at = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (at >= pixels) return;
  float* o = out + at * channels;
  if (face_id[at] < 0) {
    for (i32 k = 0; k < channels; ++k) o[k] = 0;
    return;
  }
  const i64* v = faces + 3 * face_id[at];
  raster_mix(attributes + v[0] * channels, attributes + v[1] * channels, attributes + v[2] * channels, bary + 3 * at,
             channels, o);
}

extern "C" __global__ void raster_interpolate_bary(const float* attributes, const i64* faces, const i64* face_id,
                                                   const float* grad, i32 channels, float* grad_bary, i64 pixels) {
  i64 at = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (at >= pixels) return;
  for (int k = 0; k < 3; ++k)
    grad_bary[3 * at + k] =
        face_id[at] < 0
            ? 0
            : raster_dot(attributes + faces[3 * face_id[at] + k] * channels, grad + at * channels, channels);
}

// The order of the sums, and so their last bits, may differ from call to call.
extern "C" __global__ void raster_interpolate_vertices(const i64* faces, const i64* face_id, const float* bary,
                                                       const float* grad, i32 channels,
                                                       float* grad_attributes, i64 pixels) {
  i64 at = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (at >= pixels || face_id[at] < 0) return;
  for (int k = 0; k < 3; ++k) {
    float* row = grad_attributes + faces[3 * face_id[at] + k] * channels;
    for (i32 c = 0; c < channels; ++c) atomicAdd(row + c, bary[3 * at + k] * grad[at * channels + c]);
  }
}
