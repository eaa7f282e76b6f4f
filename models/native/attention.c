/* Causal attention of rotary heads, forward and backward.

   A head's queries, keys and values are (K, T): rows are features, `stride` apart, columns the tokens of one sequence.
   Scores and chances are kept as (key, query), so that a vector is 16 queries, and a column of vectors their keys.
   Only the blocks where some key is no later than some query are computed. */

#include "vectors.h"

typedef struct {
    size tokens, padded;    /* T, and the next multiple of 16 */
    size features, rows;    /* K, and the next multiple of 8 */
    const float *cos, *sin; /* (K/2, padded) */
} Head;

static void load_plain(const act *from, size stride, const Head *head, float *to) {
    for (size k = 0; k < head->rows; k++)
        for (size t = 0; t < head->padded; t += LANES)
            store(to + k * head->padded + t,
                  k < head->features ? load_some(from + k * stride + t, head->tokens - t, 0) : splat(0));
}

/* Features k and k + K/2 of each token turned by its angle (Su et al., arXiv 2104.09864), times `scale`. */
static void load_turned(const act *from, size stride, const Head *head, float scale, float *to) {
    size half = head->features / 2, padded = head->padded;
    for (size k = 0; k < half; k++)
        for (size t = 0; t < padded; t += LANES) {
            size left = head->tokens - t;
            vec a = load_some(from + k * stride + t, left, 0), b = load_some(from + (k + half) * stride + t, left, 0);
            vec cos = load(head->cos + k * padded + t) * scale, sin = load(head->sin + k * padded + t) * scale;
            store(to + k * padded + t, a * cos - b * sin);
            store(to + (k + half) * padded + t, b * cos + a * sin);
        }
    memset(to + 2 * half * padded, 0, (head->rows - 2 * half) * padded * sizeof(float));
}

static void store_plain(const float *from, const Head *head, act *to, size stride) {
    for (size k = 0; k < head->features; k++)
        for (size t = 0; t < head->tokens; t += LANES)
            store_some(to + k * stride + t, load(from + k * head->padded + t), head->tokens - t);
}

static void store_turned_back(const float *from, const Head *head, float scale, act *to, size stride) {
    size half = head->features / 2, padded = head->padded;
    for (size k = 0; k < half; k++)
        for (size t = 0; t < head->tokens; t += LANES) {
            size left = head->tokens - t;
            vec a = load(from + k * padded + t), b = load(from + (k + half) * padded + t);
            vec cos = load(head->cos + k * padded + t) * scale, sin = load(head->sin + k * padded + t) * scale;
            store_some(to + k * stride + t, a * cos + b * sin, left);
            store_some(to + (k + half) * stride + t, b * cos - a * sin, left);
        }
}

/* to (K, padded), at vector `t`, = from (K, tokens) @ column (tokens, 16), over tokens `first` to `last`. */
static void mix(const float *from, const Head *head, const float *column, size stride, size first, size last, float *to) {
    for (size k = 0; k < head->rows; k += ROWS) {
        vec mixed[ROWS];
        tile(from + k * head->padded + first, head->padded, 1, column, stride, last - first, mixed);
        for (int r = 0; r < ROWS; r++) store(to + (k + r) * head->padded, mixed[r]);
    }
}

/* column (keys, 16) = left (K, keys)^T @ right (K, padded) at one vector. */
static void product(const float *left, const float *right, const Head *head, size keys, float *column) {
    for (size j = 0; j < keys; j += ROWS)
        tile(left + j, 1, head->padded, right, head->padded, head->features, (vec *)(column + j * LANES));
}

/* The 16 numbers from SEEN + 16 - d on are 0 for the d queries before a key that is d ahead of the first, else 1. */
static const float SEEN[2 * LANES] = {[LANES] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/* Scores of 16 queries from `t` on, (keys, 16), become chances. */
static void softmax(float *column, size t, size keys) {
    vec most = splat(-INFINITY), total = {0};
    for (size j = 0; j < keys; j++) {
        vec score = load(column + j * LANES);
        if (j > t) {
            score += (load(SEEN + LANES - (j - t)) - 1.0f) * 1e30f;
            store(column + j * LANES, score);
        }
        most = larger(most, score);
    }
    for (size j = 0; j < keys; j++) {
        vec chance = exponential(load(column + j * LANES) - most);
        if (j > t) chance *= load(SEEN + LANES - (j - t));
        store(column + j * LANES, chance);
        total += chance;
    }
    vec over = 1.0f / total;
    for (size j = 0; j < keys; j++) store(column + j * LANES, load(column + j * LANES) * over);
}

static void forward_head(const act *q, const act *k, const act *v, size stride, const Head *head, act *out, act *chances,
                         float *scratch) {
    size area = head->rows * head->padded, padded = head->padded;
    float *query = scratch, *key = query + area, *value = key + area, *mixed = value + area, *column = mixed + area;
    load_turned(q, stride, head, 1.0f / sqrtf(head->features), query);
    load_turned(k, stride, head, 1, key);
    load_plain(v, stride, head, value);
    for (size t = 0; t < padded; t += LANES) {
        size keys = least(t + LANES, head->tokens);
        product(key, query + t, head, keys, column);
        softmax(column, t, keys);
        mix(value, head, column, LANES, 0, keys, mixed + t);
        if (chances)
            for (size j = 0; j < keys; j++) store_act(chances + j * padded + t, load(column + j * LANES));
    }
    store_plain(mixed, head, out, stride);
}

/* d_scores (T, padded) of all queries, and from them the queries' own gradient. */
static void backward_queries(const float *key, const float *value, const float *d_out, const act *chances,
                             const Head *head, float *d_scores, float *d_query, float *column) {
    size padded = head->padded;
    for (size t = 0; t < padded; t += LANES) {
        size keys = least(t + LANES, head->tokens);
        product(value, d_out + t, head, keys, column);
        vec mean = {0};
        for (size j = 0; j < keys; j++) mean += load_act(chances + j * padded + t) * load(column + j * LANES);
        for (size j = 0; j < keys; j++)
            store(d_scores + j * padded + t,
                  load_act(chances + j * padded + t) * (load(column + j * LANES) - mean));
        mix(key, head, d_scores + t, padded, 0, keys, d_query + t);
    }
}

/* The keys' and values' gradients, 16 keys at a time, each over the queries that see them. */
static void backward_keys(const float *query, const float *d_out, const act *chances, const float *d_scores,
                          const Head *head, float *d_key, float *d_value, float *column) {
    size padded = head->padded, tokens = head->tokens;
    float *chance_column = column, *score_column = column + padded * LANES;
    for (size j = 0; j < padded; j += LANES) {
        for (size t = j; t < padded; t += LANES) {
            vec rows[LANES], d_rows[LANES];
            for (int r = 0; r < LANES; r++) {
                rows[r] = load_act(chances + (j + r) * padded + t);
                d_rows[r] = load(d_scores + (j + r) * padded + t);
            }
            transpose(rows, chance_column + (t - j) * LANES, LANES);
            transpose(d_rows, score_column + (t - j) * LANES, LANES);
        }
        mix(d_out, head, chance_column, LANES, j, tokens, d_value + j);
        mix(query, head, score_column, LANES, j, tokens, d_key + j);
    }
}

/* The gradients take the place of queries, keys and values. */
static void backward_head(act *q, act *k, act *v, const act *d, size stride, const Head *head, const act *chances,
                          float *scratch) {
    size area = head->rows * head->padded;
    float *query = scratch, *key = query + area, *value = key + area, *d_out = value + area;
    float *d_query = d_out + area, *d_key = d_query + area, *d_value = d_key + area, *d_scores = d_value + area;
    float *column = d_scores + head->padded * head->padded, scale = 1.0f / sqrtf(head->features);
    load_turned(q, stride, head, scale, query);
    load_turned(k, stride, head, 1, key);
    load_plain(v, stride, head, value);
    load_plain(d, stride, head, d_out);
    backward_queries(key, value, d_out, chances, head, d_scores, d_query, column);
    backward_keys(query, d_out, chances, d_scores, head, d_key, d_value, column);
    store_turned_back(d_query, head, scale, q, stride);
    store_turned_back(d_key, head, 1, k, stride);
    store_plain(d_value, head, v, stride);
}

/* qkv (3, H, K) rows of B * T tokens -> out (H, K); chances (B, H, padded, padded), null where nobody asks. */
void attention(const act *qkv, size stride, const float *cos, const float *sin, act *out, act *chances, float *scratch,
               size batch, size heads, size tokens, size features) {
    Head head = {tokens, up_to(tokens, LANES), features, up_to(features, ROWS), cos, sin};
    size third = heads * features * stride, square = head.padded * head.padded;
    for (size b = 0; b < batch; b++)
        for (size h = 0; h < heads; h++) {
            size at = h * features * stride + b * tokens;
            forward_head(qkv + at, qkv + third + at, qkv + 2 * third + at, stride, &head, out + at,
                         chances ? chances + (b * heads + h) * square : 0, scratch);
        }
}

/* qkv becomes its gradient. */
void attention_backward(act *qkv, const act *d_out, size stride, const float *cos, const float *sin, const act *chances,
                        float *scratch, size batch, size heads, size tokens, size features) {
    Head head = {tokens, up_to(tokens, LANES), features, up_to(features, ROWS), cos, sin};
    size third = heads * features * stride, square = head.padded * head.padded;
    for (size b = 0; b < batch; b++)
        for (size h = 0; h < heads; h++) {
            size at = h * features * stride + b * tokens;
            backward_head(qkv + at, qkv + third + at, qkv + 2 * third + at, d_out + at, stride, &head,
                          chances + (b * heads + h) * square, scratch);
        }
}
