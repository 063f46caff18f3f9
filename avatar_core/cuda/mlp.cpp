// A small network on a CPU, POINTS points at once. The values of a channel lie side by side, so that a layer is sums of
// whole vectors, TILE outputs of two vectors in registers at a time; what passes from layer to layer stays in the
// nearest cache. The plain product of matrices that a library offers would carry it to memory and back.
#include "common.h"

#if defined(__AVX512F__)
static const int LANES = 16, TILE = 8;
#elif defined(__AVX__)
static const int LANES = 8, TILE = 6;  // of 16 registers, 12 hold sums
#elif defined(__aarch64__)
static const int LANES = 4, TILE = 8;
#else
static const int LANES = 4, TILE = 6;
#endif
static const int POINTS = 32, WIDEST = 320;  // with more points, wide layers fall out of the nearest cache
typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef i32 Integers __attribute__((vector_size(4 * LANES)));

// weight[outputs][stride], of which `inputs` columns count; bias may be null.
struct MlpLayer {
  const float *weight, *bias;
  i64 stride;
  i32 inputs, outputs;
};

// Some of the network's inputs: values[points][stride], of which `width` columns count.
struct MlpPart {
  const float* values;
  i64 stride, width;
};

static i32 tiles(const MlpLayer& layer) { return (layer.outputs + TILE - 1) / TILE; }

// packed[tiles][1 + inputs][TILE]: the biases of a tile, then its weights, input by input; zeros beyond the outputs.
static float* pack_layer(const MlpLayer& layer, float* packed) {
  for (i32 o = 0; o < tiles(layer) * TILE; o += TILE)
    for (i32 i = -1; i < layer.inputs; ++i)
      for (i32 row = o; row < o + TILE; ++row) {
        const float* value = i < 0 ? layer.bias + row : layer.weight + row * layer.stride + i;
        *packed++ = row < layer.outputs && (i >= 0 || layer.bias) ? *value : 0;
      }
  return packed;
}

// What follows a layer: values below 0 count `slope` of theirs, or log(1 + exp(sharpness x)) / sharpness where that is
// not 0. NaN stays.
struct MlpActivation {
  float slope, sharpness;
};

static inline Vector below(Vector value, float slope) { return slope == 0 ? Vector{} : value * slope; }

// max(x, 0) + log(1 + e) / sharpness of e = exp(-sharpness |x|). e = 2^n e^r with |r| <= ln 2 / 2, as in common.h;
// log(1 + e) = 2 atanh(s) of s = e / (2 + e), which is at most 1 / 3.
static inline Vector softplus(Vector x, float sharpness) {
  Vector z = (x < 0 ? x : -x) * sharpness;
  z = z > -40 ? z : Vector{} - 40;  // e counts for nothing there, and denormal numbers would be slow
  Integers n = __builtin_convertvector(z * 1.44269504f - 0.5f, Integers);
  Vector k = __builtin_convertvector(n, Vector);
  Vector r = z - k * 0.693145752f - k * 1.42860677e-6f;
  Vector p = Vector{} + 1.0f / 5040;
  p = p * r + 1.0f / 720, p = p * r + 1.0f / 120, p = p * r + 1.0f / 24, p = p * r + 1.0f / 6, p = p * r + 0.5f;
  Vector e = (p * r * r + r + 1) * (Vector)((n + 127) << 23);
  Vector s = e / (2 + e), q = s * s;
  p = Vector{} + 2.0f / 13;
  p = p * q + 2.0f / 11, p = p * q + 2.0f / 9, p = p * q + 2.0f / 7, p = p * q + 2.0f / 5, p = p * q + 2.0f / 3;
  return (x < 0 ? Vector{} : x) + (p * q + 2) * s * (1 / sharpness);
}

// out[outputs, rounded up to TILE][POINTS]. Returns the end of `packed`.
static const float* run_layer(const MlpLayer& layer, const float* packed, const float* in, MlpActivation after,
                              float* out) {
  float* const first = out;
  const float slope = after.sharpness == 0 ? after.slope : 1;
  for (i32 tile = 0; tile < tiles(layer); ++tile, out += TILE * POINTS, packed += TILE * (1 + layer.inputs))
    for (int p = 0; p < POINTS; p += 2 * LANES) {
      Vector low[TILE], high[TILE];
      for (int j = 0; j < TILE; ++j) low[j] = high[j] = Vector{} + packed[j];
      const float* weight = packed;
      for (int i = 0; i < layer.inputs; ++i) {
        const Vector* x = (const Vector*)(in + i * POINTS + p);
        const Vector one = x[0], two = x[1];
        weight += TILE;
        for (int j = 0; j < TILE; ++j) low[j] += weight[j] * one, high[j] += weight[j] * two;
      }
      for (int j = 0; j < TILE; ++j) {
        Vector* y = (Vector*)(out + j * POINTS + p);
        y[0] = low[j] < 0 ? below(low[j], slope) : low[j];
        y[1] = high[j] < 0 ? below(high[j], slope) : high[j];
      }
    }
  if (after.sharpness != 0)
    for (Vector* value = (Vector*)first; value < (Vector*)out; ++value) *value = softplus(*value, after.sharpness);
  return packed;
}

// The channels of `parts`, one part after the other, of points start to start + size; the last one again to the end.
static void load(const MlpPart* parts, i32 count, i64 start, int size, float* out) {
  for (i32 k = 0; k < count; out += parts[k++].width * POINTS)
    for (int i = 0; i < POINTS; ++i) {
      const float* values = parts[k].values + (start + (i < size ? i : size - 1)) * parts[k].stride;
      for (i64 c = 0; c < parts[k].width; ++c) out[c * POINTS + i] = values[c];
    }
}

// How many numbers the packed layers are.
AC_API i64 mlp_packed(const MlpLayer* layers, i32 depth) {
  i64 total = 0;
  for (i32 l = 0; l < depth; ++l) total += (i64)tiles(layers[l]) * TILE * (1 + layers[l].inputs);
  return total;
}

AC_API void mlp_pack(const MlpLayer* layers, i32 depth, float* packed) {
  for (i32 l = 0; l < depth; ++l) packed = pack_layer(layers[l], packed);
}

// out[points][outputs of the last layer]. No layer is wider than WIDEST. `between` follows all layers but the last one,
// `last` that one.
AC_API void mlp_forward(const MlpPart* parts, i32 count, const MlpLayer* layers, i32 depth, const float* packed,
                        MlpActivation between, MlpActivation last, float* out, i64 begin, i64 end) {
  alignas(64) float one[(WIDEST + TILE) * POINTS], two[(WIDEST + TILE) * POINTS];
  const i64 width = layers[depth - 1].outputs;
  for (i64 start = begin; start < end; start += POINTS) {
    int size = (int)(end - start < POINTS ? end - start : POINTS);
    float *in = one, *next = two;
    const float* weights = packed;
    load(parts, count, start, size, in);
    for (i32 l = 0; l < depth; ++l) {
      weights = run_layer(layers[l], weights, in, l + 1 < depth ? between : last, next);
      float* swap = in;
      in = next, next = swap;
    }
    for (int i = 0; i < size; ++i)
      for (i64 o = 0; o < width; ++o) out[(start + i) * width + o] = in[o * POINTS + i];
  }
}
