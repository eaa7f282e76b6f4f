/* Vectors of 16 floats, and what the kernels compute with them. The compiler makes of a vector what the processor has.

   Activations (`act`) are fp32, or bf16 where BF16 is defined; whatever is computed is computed in fp32. */

#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#define LANES 16
#define ROWS 8
typedef float vec __attribute__((vector_size(64)));
typedef int32_t ivec __attribute__((vector_size(64)));
typedef uint32_t uvec __attribute__((vector_size(64)));
typedef uint16_t hvec __attribute__((vector_size(32)));
typedef int64_t size;

#ifdef BF16
typedef uint16_t act;
#else
typedef float act;
#endif

static inline vec splat(float x) { return (vec){0} + x; }
static inline vec load(const float *p) { vec v; memcpy(&v, p, sizeof v); return v; }
static inline void store(float *p, vec v) { memcpy(p, &v, sizeof v); }
static inline size least(size a, size b) { return a < b ? a : b; }

static inline vec load_act(const act *p) {
#ifdef BF16
    hvec half;
    memcpy(&half, p, sizeof half);
    return (vec)(__builtin_convertvector(half, uvec) << 16);
#else
    return load(p);
#endif
}

static inline void store_act(act *p, vec v) {
#ifdef BF16 /* to the nearest, ties to even */
    uvec bits = (uvec)v;
    hvec half = __builtin_convertvector((bits + 0x7fff + ((bits >> 16) & 1)) >> 16, hvec);
    memcpy(p, &half, sizeof half);
#else
    store(p, v);
#endif
}

/* The first n lanes; the others are `rest`. */
static inline vec load_some(const act *p, size n, float rest) {
    if (n >= LANES) return load_act(p);
    act bits[LANES] = {0};
    memcpy(bits, p, n * sizeof(act));
    vec v = load_act(bits);
    for (size l = n; l < LANES; l++) v[l] = rest;
    return v;
}

static inline void store_some(act *p, vec v, size n) {
    if (n >= LANES) { store_act(p, v); return; }
    act bits[LANES];
    store_act(bits, v);
    memcpy(p, bits, n * sizeof(act));
}

static inline vec load_floats(const float *p, size n) {
    if (n >= LANES) return load(p);
    vec v = {0};
    memcpy(&v, p, n * sizeof(float));
    return v;
}

static inline void store_floats(float *p, vec v, size n) { memcpy(p, &v, (n >= LANES ? LANES : n) * sizeof(float)); }

/* b where either is no number. */
static inline vec larger(vec a, vec b) {
#ifdef __AVX512F__
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#else
    ivec first = a > b;
    return (vec)((first & (ivec)a) | (~first & (ivec)b));
#endif
}

/* Lanes n apart exchanged, for n of 8, 4, 2 and 1. */
#define SWAPPED_8(v) __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
#define SWAPPED_4(v) __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)
#define SWAPPED_2(v) __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
#define SWAPPED_1(v) __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)

static inline float sum(vec v) {
    v += SWAPPED_8(v);
    v += SWAPPED_4(v);
    v += SWAPPED_2(v);
    v += SWAPPED_1(v);
    return v[0];
}

static inline float largest(vec v) {
    v = larger(v, SWAPPED_8(v));
    v = larger(v, SWAPPED_4(v));
    v = larger(v, SWAPPED_2(v));
    return larger(v, SWAPPED_1(v))[0];
}

/* e^x to 2 units in the last place for |x| < 80, and its limits beyond (coefficients of Cephes' expf, S. Moshier). What
   is no number stays none: so the order of `larger`'s arguments. */
static inline vec exponential(vec x) {
    x = -larger(splat(-80.0f), -larger(splat(-80.0f), x));
    const vec magic = splat(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
    vec shifted = x * 1.44269504f + magic, n = shifted - magic;
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return p * (vec)(((ivec)shifted - (ivec)magic + 127) << 23);
}

static inline size up_to(size n, size step) { return (n + step - 1) / step * step; }

/* c[r] = sum over d of a[r * row + d * step] * b[d]: 8 rows of one vector. */
static inline void tile(const float *a, size row, size step, const float *b, size b_stride, size depth, vec c[ROWS]) {
    vec sums[ROWS] = {0};
    for (size d = 0; d < depth; d++, a += step, b += b_stride) {
        vec column = load(b);
        for (int r = 0; r < ROWS; r++) sums[r] += a[r * row] * column;
    }
    for (int r = 0; r < ROWS; r++) c[r] = sums[r];
}

/* 16 rows of 16 transposed, to rows `stride` apart: four perfect shuffles. */
static inline void transpose(const vec from[LANES], float *to, size stride) {
    vec a[LANES], b[LANES];
    for (int r = 0; r < LANES; r++) a[r] = from[r];
    for (int round = 0; round < 4; round++) {
        for (int r = 0; r < LANES / 2; r++) {
            b[2 * r] = __builtin_shufflevector(a[r], a[r + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            b[2 * r + 1] =
                __builtin_shufflevector(a[r], a[r + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
        memcpy(a, b, sizeof a);
    }
    for (int r = 0; r < LANES; r++) store(to + r * stride, a[r]);
}
