// What the points around a sample say of it, on a CPU: means of features and offsets, and their Fourier encoding, in one
// pass, so that no neighbour's features are ever copied. Sines and cosines are taken once of a value; each further octave
// follows from the one before by doubling the angle.
#include "common.h"

static const int SAMPLES = 16;           // at once, side by side
static const int MOST = 128, OFFSETS = 6;  // channels of features, and of offsets in two frames
static const float NEAREST = 1e-6f, LEAST = 1e-8f;

// sin x and cos x to 1e-7 for |x| < 1e4: x = n pi / 2 + r, |r| <= pi / 4 (Cody and Waite), then Taylor's polynomials.
AC_HD void sine_and_cosine(float x, float* sine, float* cosine) {
  float turns = x * 0.636619772f;
  i32 n = (i32)(turns + (turns < 0 ? -0.5f : 0.5f));
  float r = x - n * 1.5703125f - n * 4.83751297e-4f - n * 7.54978995e-8f;
  float r2 = r * r;
  float s = r + r * r2 * (-1.0f / 6 + r2 * (1.0f / 120 + r2 * (-1.0f / 5040 + r2 * (1.0f / 362880))));
  float c = 1 + r2 * (-0.5f + r2 * (1.0f / 24 + r2 * (-1.0f / 720 + r2 * (1.0f / 40320 - r2 * (1.0f / 3628800)))));
  float odd = (float)(n & 1), first = odd * c + (1 - odd) * s, second = odd * s + (1 - odd) * c;
  *sine = first * (1 - (float)(n & 2));
  *cosine = second * (1 - (float)((n + 1) & 2));
}

// out[SAMPLES][stride]: of each value sin x, cos x, sin 2x, cos 2x, ...; values[SAMPLES].
static void encode(const float* values, i32 octaves, i32 size, i64 stride, float* out) {
  float sine[SAMPLES], cosine[SAMPLES];
  for (int i = 0; i < SAMPLES; ++i) sine_and_cosine(values[i], sine + i, cosine + i);
  for (i32 octave = 0; octave < octaves; ++octave, out += 2) {
    for (i32 i = 0; i < size; ++i) out[i * stride] = sine[i], out[i * stride + 1] = cosine[i];
    for (int i = 0; i < SAMPLES; ++i) {
      float twice = 2 * sine[i] * cosine[i];
      cosine[i] = 1 - 2 * sine[i] * sine[i];
      sine[i] = twice;
    }
  }
}

// places[n][3]; indices[n][count], -1 for none; points[][3]; features[][channels]; rotation[9];
// out[n][channels (1 + 2 feature_octaves) + 12 offset_octaves].
AC_API void point_mix(const float* places, const i64* indices, i64 count, const float* points, const float* features,
                      i64 channels, const float* rotation, i32 feature_octaves, i32 offset_octaves, float* out,
                      i64 begin, i64 end) {
  const i64 stride = channels * (1 + 2 * feature_octaves) + 2 * OFFSETS * offset_octaves;
  float mixed[MOST + OFFSETS][SAMPLES];
  for (i64 start = begin; start < end; start += SAMPLES) {
    const i32 size = (i32)(end - start < SAMPLES ? end - start : SAMPLES);
    for (i64 c = 0; c < channels + OFFSETS; ++c)
      for (int i = size; i < SAMPLES; ++i) mixed[c][i] = 0;
    for (i32 i = 0; i < size; ++i) {
      const i64* chosen = indices + (start + i) * count;
      const float* place = places + (start + i) * 3;
      float sum[MOST], offset[3] = {0, 0, 0}, total = 0;
      for (i64 c = 0; c < channels; ++c) sum[c] = 0;
      for (i64 k = 0; k < count; ++k) {
        if (chosen[k] < 0) continue;
        const float* point = points + chosen[k] * 3;
        float x = point[0] - place[0], y = point[1] - place[1], z = point[2] - place[2];
        float weight = 1 / ac_max(__builtin_sqrtf(x * x + y * y + z * z), NEAREST);
        total += weight;
        offset[0] += weight * x, offset[1] += weight * y, offset[2] += weight * z;
        const float* feature = features + chosen[k] * channels;
        for (i64 c = 0; c < channels; ++c) sum[c] += weight * feature[c];
      }
      float share = 1 / ac_max(total, LEAST), *row = out + (start + i) * stride;
      for (i64 c = 0; c < channels; ++c) row[c] = mixed[c][i] = sum[c] * share;
      for (int d = 0; d < 3; ++d) offset[d] *= share, mixed[channels + d][i] = offset[d];
      for (int d = 0; d < 3; ++d) {
        const float* axis = rotation + 3 * d;
        mixed[channels + 3 + d][i] = axis[0] * offset[0] + axis[1] * offset[1] + axis[2] * offset[2];
      }
    }
    float* to = out + start * stride + channels;
    for (i64 c = 0; c < channels; ++c, to += 2 * feature_octaves) encode(mixed[c], feature_octaves, size, stride, to);
    for (int d = 0; d < OFFSETS; ++d, to += 2 * offset_octaves)
      encode(mixed[channels + d], offset_octaves, size, stride, to);
  }
}
