// CPU shells of Gaussian primitives: forward by tiles of 16 x 16 pixels, backward by limbs, so that no two threads add to
// one number and the result depends on no number of threads.
#include "gaussians.h"

namespace {

struct Tile {
  i64 x0, x1, y0, y1;
};

Tile tile_of(i64 width, i64 height, i64 index) {
  i64 across = (width + GS_TILE - 1) / GS_TILE;
  i64 x = index % across * GS_TILE, y = index / across * GS_TILE;
  return Tile{x, x + GS_TILE < width ? x + GS_TILE : width, y, y + GS_TILE < height ? y + GS_TILE : height};
}

bool overlap(const Limb& limb, const float* bounds) {
  return limb.box[0] <= bounds[1] && limb.box[1] >= bounds[0] && limb.box[2] <= bounds[3] && limb.box[3] >= bounds[2];
}

// Weights and depths of a limb at `n` <= 16 pixels of a row; whether any counts.
bool row(const Limb& limb, const float* plane, i64 n, float* weight, float* depth) {
  float most = 0;
  for (i64 i = 0; i < n; ++i) {
    GsSample sample = gs_sample(limb, plane[2 * i], plane[2 * i + 1]);
    weight[i] = sample.weight, depth[i] = sample.depth;
    most = ac_max(most, sample.weight);
  }
  return most > 0;
}

}  // namespace

// The least and greatest x and y of each tile's rays: bounds[tiles][4].
AC_API void gaussians_bounds(const float* plane, i64 width, i64 height, float* bounds, i64 begin, i64 end) {
  for (i64 index = begin; index < end; ++index) {
    Tile tile = tile_of(width, height, index);
    float* b = bounds + 4 * index;
    b[0] = b[2] = 3e38f, b[1] = b[3] = -3e38f;
    for (i64 y = tile.y0; y < tile.y1; ++y)
      for (i64 x = tile.x0; x < tile.x1; ++x)
        for (int d = 0; d < 2; ++d) {
          float value = plane[2 * (y * width + x) + d];
          b[2 * d] = ac_min(b[2 * d], value), b[2 * d + 1] = ac_max(b[2 * d + 1], value);
        }
  }
}

// Results are zero on entry. total: sum of weights. limb_id: -1 where no limb counts.
AC_API void gaussians_forward(const float* plane, const float* bounds, i64 width, i64 height, const Limb* limbs,
                              i64 count, const float* features, i64 channels, float background, float* image,
                              float* total, float* depth, i64* limb_id, i64 begin, i64 end) {
  i64 pixels = width * height;
  for (i64 index = begin; index < end; ++index) {
    Tile tile = tile_of(width, height, index);
    i64 n = tile.x1 - tile.x0;
    float best[GS_TILE * GS_TILE] = {};
    for (i64 y = tile.y0; y < tile.y1; ++y)
      for (i64 x = tile.x0; x < tile.x1; ++x) limb_id[y * width + x] = -1;
    for (i64 l = 0; l < count; ++l) {
      if (!overlap(limbs[l], bounds + 4 * index)) continue;
      Limb limb = limbs[l];
      for (i64 y = tile.y0; y < tile.y1; ++y) {
        i64 at = y * width + tile.x0;
        float weight[GS_TILE], t[GS_TILE];
        float* row_best = best + (y - tile.y0) * GS_TILE;
        if (!row(limb, plane + 2 * at, n, weight, t)) continue;
        for (i64 i = 0; i < n; ++i) {
          total[at + i] += weight[i], depth[at + i] += weight[i] * t[i];
          if (weight[i] > row_best[i]) row_best[i] = weight[i], limb_id[at + i] = l;
        }
        for (i64 c = 0; c < channels; ++c) {
          float value = features[l * channels + c], *out = image + c * pixels + at;
          for (i64 i = 0; i < n; ++i) out[i] += weight[i] * value;
        }
      }
    }
    for (i64 y = tile.y0; y < tile.y1; ++y)
      for (i64 at = y * width + tile.x0; at < y * width + tile.x1; ++at) {
        if (!(total[at] > 0)) continue;
        depth[at] /= total[at];
        float inverse = 1 / (total[at] + background);
        for (i64 c = 0; c < channels; ++c) image[c * pixels + at] *= inverse;
      }
  }
}

// grad_limbs[limbs][8] and grad_features are zero on entry.
AC_API void gaussians_backward(const float* plane, const float* bounds, i64 width, i64 height, const Limb* limbs,
                               const float* features, i64 channels, float background, const float* image,
                               const float* total, const float* depth, const float* grad_image,
                               const float* grad_alpha, const float* grad_depth, float* grad_limbs,
                               float* grad_features, i64 begin, i64 end) {
  i64 pixels = width * height, tiles = ((width + GS_TILE - 1) / GS_TILE) * ((height + GS_TILE - 1) / GS_TILE);
  for (i64 l = begin; l < end; ++l)
    for (i64 index = 0; index < tiles; ++index) {
      if (!overlap(limbs[l], bounds + 4 * index)) continue;
      Tile tile = tile_of(width, height, index);
      for (i64 y = tile.y0; y < tile.y1; ++y)
        for (i64 at = y * width + tile.x0; at < y * width + tile.x1; ++at) {
          GsTerms t;
          gs_terms(limbs[l], plane[2 * at], plane[2 * at + 1], t);
          if (!(t.weight > 0)) continue;
          const float* feature = features + l * channels;
          float gl = gs_log_gradient(feature, image, grad_image, channels, pixels, at, t.weight, total[at],
                                     background, grad_alpha[at], grad_depth[at], t.depth - depth[at]);
          gs_backward(limbs[l], t, gl, grad_depth[at] * (t.weight / total[at]), grad_limbs + 8 * l);
          float share = t.weight / (total[at] + background);
          for (i64 c = 0; c < channels; ++c) grad_features[l * channels + c] += share * grad_image[c * pixels + at];
        }
    }
}

// The limb whose peak is farthest along each pixel's unit ray: z and the limb.
AC_API void gaussians_farthest(const float* plane, const Limb* limbs, i64 count, float* farthest, i64* which, i64 begin,
                               i64 end) {
  for (i64 at = begin; at < end; ++at) {
    float x = plane[2 * at], y = plane[2 * at + 1], most = -3e38f;
    i64 best = 0;
    for (i64 l = 0; l < count; ++l) {
      GsTerms t;
      gs_terms(limbs[l], x, y, t);
      float z = __builtin_sqrtf(t.pp) * t.depth;
      if (z > most) most = z, best = l;
    }
    farthest[at] = most, which[at] = best;
  }
}
