/* What a Llama's training step does between its matrix products, attention apart (attention.c), for one thread of a CPU.

   Compiled once a machine by models/native/library.py, called by models/native/schedule.py, which says what each array
   is. */

#include "vectors.h"

/* ---- tokens and embedding */

/* Inputs and targets of windows (batch, length + 1). Returns 0, or 1 where a token is none of the vocabulary. */
size take_windows(const int64_t *windows, int64_t *tokens, int64_t *targets, size batch, size length, size vocab) {
    int64_t outside = 0;
    for (size b = 0; b < batch; b++, windows += length + 1, tokens += length, targets += length) {
        memcpy(tokens, windows, length * sizeof(int64_t));
        memcpy(targets, windows + 1, length * sizeof(int64_t));
        for (size t = 0; t <= length; t++) outside |= (uint64_t)windows[t] >= (uint64_t)vocab;
    }
    return outside;
}

void embed(const float *table, const int64_t *tokens, float *x, size count, size width) {
    for (size n = 0; n < count; n++) memcpy(x + n * width, table + tokens[n] * width, width * sizeof(float));
}

void embed_backward(const float *dx, const int64_t *tokens, float *d_table, size count, size width) {
    for (size n = 0; n < count; n++) {
        float *row = d_table + tokens[n] * width;
        for (size w = 0; w < width; w++) row[w] += dx[n * width + w];
    }
}

/* ---- RMSNorm (Zhang and Sennrich, arXiv 1910.07467) after a residual sum */

/* sums = x + y where there is a y; h = sums / rms(sums) * gain. */
void add_norm(const float *x, const act *y, float *sums, const float *gain, act *h, float *over_rms, size count,
              size width, float eps) {
    for (size n = 0; n < count; n++, x += width, sums += width, h += width) {
        vec squares = {0};
        for (size w = 0; w < width; w += LANES) {
            size left = width - w;
            vec v = load_floats(x + w, left);
            if (y) {
                v += load_some(y + n * width + w, left, 0);
                store_floats(sums + w, v, left);
            }
            squares += v * v;
        }
        float over = 1.0f / sqrtf(sum(squares) / width + eps);
        over_rms[n] = over;
        const float *from = y ? sums : x;
        for (size w = 0; w < width; w += LANES) {
            size left = width - w;
            store_some(h + w, load_floats(from + w, left) * over * load_floats(gain + w, left), left);
        }
    }
}

/* dx += gradient through the norm, d_gain += its own; dx_act is dx as activations (null where they are fp32). */
void norm_backward(const act *dh, const float *x, const float *gain, const float *over_rms, float *dx, act *dx_act,
                   float *d_gain, size count, size width) {
    for (size n = 0; n < count; n++, dh += width, x += width, dx += width) {
        vec along_vec = {0};
        for (size w = 0; w < width; w += LANES) {
            size left = width - w;
            vec through = load_some(dh + w, left, 0) * load_floats(x + w, left);
            along_vec += through * load_floats(gain + w, left);
            store_floats(d_gain + w, load_floats(d_gain + w, left) + through * over_rms[n], left);
        }
        float over = over_rms[n], along = sum(along_vec) * over * over / width;
        for (size w = 0; w < width; w += LANES) {
            size left = width - w;
            vec straight = load_some(dh + w, left, 0) * load_floats(gain + w, left);
            vec all = load_floats(dx + w, left) + (straight - load_floats(x + w, left) * along) * over;
            store_floats(dx + w, all, left);
            if (dx_act) store_some(dx_act + n * width + w, all, left);
        }
    }
}

/* ---- SwiGLU (Shazeer, arXiv 2002.05202): rows of both are gates, then ups */

void swiglu(const act *both, act *out, size count, size width) {
    for (size n = 0; n < count; n++, both += 2 * width, out += width)
        for (size w = 0; w < width; w += LANES) {
            size left = width - w;
            vec gate = load_some(both + w, left, 0), up = load_some(both + width + w, left, 0);
            store_some(out + w, gate * up / (1.0f + exponential(-gate)), left);
        }
}

/* `both` becomes its own gradient. */
void swiglu_backward(const act *d_out, act *both, size count, size width) {
    for (size n = 0; n < count; n++, both += 2 * width, d_out += width)
        for (size w = 0; w < width; w += LANES) {
            size left = width - w;
            vec gate = load_some(both + w, left, 0), up = load_some(both + width + w, left, 0);
            vec d = load_some(d_out + w, left, 0), sigmoid = 1.0f / (1.0f + exponential(-gate));
            store_some(both + w, d * up * sigmoid * (1.0f + gate * (1.0f - sigmoid)), left);
            store_some(both + width + w, d * gate * sigmoid, left);
        }
}

/* ---- cross-entropy: logits become their gradient times `weight`, where that is not 0 */

void cross_entropy(act *logits, size stride, const int64_t *targets, float *losses, float *row, size count, size vocab,
                   float weight) {
    for (size n = 0; n < count; n++, logits += stride) {
        vec most = splat(-INFINITY), total = {0};
        for (size v = 0; v < vocab; v += LANES) {
            vec logit = load_some(logits + v, vocab - v, -INFINITY);
            store(row + v, logit);
            most = larger(most, logit);
        }
        float top = largest(most), target = row[targets[n]];
        for (size v = 0; v < vocab; v += LANES) {
            vec chance = exponential(load(row + v) - top);
            store(row + v, chance);
            if (vocab - v < LANES)
                for (size l = vocab - v; l < LANES; l++) chance[l] = 0;
            total += chance;
        }
        float all = sum(total);
        losses[n] = logf(all) + top - target;
        if (weight == 0) continue;
        row[targets[n]] -= all;
        for (size v = 0; v < vocab; v += LANES) store_some(logits + v, load(row + v) * (weight / all), vocab - v);
    }
}

/* ---- flat buffers */

void clear(float *x, size count) { memset(x, 0, count * sizeof(float)); }

double total(const float *x, size count) {
    double all = 0;
    for (size i = 0; i < count; i++) all += x[i];
    return all;
}

double sum_of_squares(const float *x, size count) {
    double total = 0;
    for (size i = 0; i < count; i += 16 * LANES) {
        vec squares = {0};
        for (size j = i; j < least(count, i + 16 * LANES); j += LANES) {
            vec v = load_floats(x + j, count - j);
            squares += v * v;
        }
        for (int l = 0; l < LANES; l++) total += squares[l];
    }
    return total;
}

/* The norm of x, which is cut to `most` where it is more, as by torch's clip_grad_norm_. */
double clip(float *x, size count, double most) {
    double norm = sqrt(sum_of_squares(x, count));
    float scale = most / (norm + 1e-6);
    if (norm > most)
        for (size i = 0; i < count; i++) x[i] *= scale;
    return norm;
}

void narrow(const float *x, act *out, size count) {
    for (size i = 0; i < count; i += LANES) store_some(out + i, load_floats(x + i, count - i), count - i);
}

void accumulate(float *total, const act *x, size count) {
    for (size i = 0; i < count; i += LANES)
        store_floats(total + i, load_floats(total + i, count - i) + load_some(x + i, count - i, 0), count - i);
}
