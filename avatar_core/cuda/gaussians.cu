// CUDA shells of Gaussian primitives: a thread a pixel; backward a pixel and a limb.
#include "gaussians.h"

extern "C" __global__ void gaussians_forward(const float* plane, i64 pixels, const Limb* limbs, i64 count,
                                             const float* features, i64 channels, float background, float* image,
                                             float* total, float* depth, i64* limb_id) {
  i64 at = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (at >= pixels) return;
  float x = plane[2 * at], y = plane[2 * at + 1], sum = 0, sum_depth = 0, most = 0;
  i64 best = -1;
  for (i64 l = 0; l < count; ++l) {
    if (!gs_in_box(limbs[l], x, y)) continue;
    GsSample sample = gs_sample(limbs[l], x, y);
    if (!(sample.weight > 0)) continue;
    sum += sample.weight, sum_depth += sample.weight * sample.depth;
    if (sample.weight > most) most = sample.weight, best = l;
    for (i64 c = 0; c < channels; ++c) image[c * pixels + at] += sample.weight * features[l * channels + c];
  }
  limb_id[at] = best;
  if (!(sum > 0)) return;
  total[at] = sum, depth[at] = sum_depth / sum;
  for (i64 c = 0; c < channels; ++c) image[c * pixels + at] /= sum + background;
}

// grad_limbs and grad_features are zero on entry. blockIdx.y is the limb.
extern "C" __global__ void gaussians_backward(const float* plane, i64 pixels, const Limb* limbs, const float* features,
                                              i64 channels, float background, const float* image, const float* total,
                                              const float* depth, const float* grad_image, const float* grad_alpha,
                                              const float* grad_depth, float* grad_limbs, float* grad_features) {
  i64 at = blockIdx.x * (i64)blockDim.x + threadIdx.x, l = blockIdx.y;
  if (at >= pixels || !gs_in_box(limbs[l], plane[2 * at], plane[2 * at + 1])) return;
  GsTerms t;
  gs_terms(limbs[l], plane[2 * at], plane[2 * at + 1], t);
  if (!(t.weight > 0)) return;
  float gl = gs_log_gradient(features + l * channels, image, grad_image, channels, pixels, at, t.weight, total[at],
                             background, grad_alpha[at], grad_depth[at], t.depth - depth[at]);
  float grad[8] = {};
  gs_backward(limbs[l], t, gl, grad_depth[at] * (t.weight / total[at]), grad);
  for (int d = 0; d < 8; ++d) atomicAdd(grad_limbs + 8 * l + d, grad[d]);
  float share = t.weight / (total[at] + background);
  for (i64 c = 0; c < channels; ++c)
    atomicAdd(grad_features + l * channels + c, share * grad_image[c * pixels + at]);
}

extern "C" __global__ void gaussians_farthest(const float* plane, i64 pixels, const Limb* limbs, i64 count,
                                              float* farthest, i64* which) {
  i64 at = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (at >= pixels) return;
  float most = -3e38f;
  i64 best = 0;
  for (i64 l = 0; l < count; ++l) {
    GsTerms t;
    gs_terms(limbs[l], plane[2 * at], plane[2 * at + 1], t);
    float z = sqrtf(t.pp) * t.depth;
    if (z > most) most = z, best = l;
  }
  farthest[at] = most, which[at] = best;
}
