/* The three hottest loops, optional: what this module cannot do, or a machine without a compiler, the pure code does.
 *
 *   parse_level2(frame)          a level2 frame straight into two maps, price -> size
 *   Levels                       the levels around mid, and the exact sums of a sample over them
 *   sample_lines(parts, ...)     the lines of a sample out of its figures
 *
 * Whatever looks unusual is declined (None or False is returned) and goes to the typed decoder or to the integers of
 * Python, so both paths refuse the same frames with the same errors and give the same bytes. tests/book/test_native.py
 * and tests/fuzz/native.py hold them to it.
 *
 * Limited API of Python 3.11: one binary serves every later version. The sums need 128-bit integers, which GCC and
 * Clang have; elsewhere the module is not built.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef __int128 i128;
typedef unsigned __int128 u128;

#define EXACT 1e15               /* below it rounding a product finds the right integer, see book/levels.py */
#define LARGEST 1e15             /* feeds' bound on prices and sizes: beyond, the typed decoder decides */

/* 10^0 .. 10^22 are exact as doubles */
static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* --- Parsing ------------------------------------------------------------------------------------------------------ */

/* Each step takes the position it reads at and gives the one behind what it read; NULL: not what was expected. A frame
 * ends with a NUL of Python's, so a loop over digits or over a string needs no other end. */
typedef const char *Position;

/* Compilers make a call of memcmp for some lengths that they know; two overlapping words do. */
static inline int is_same(const char *a, const char *b, size_t length) {
    uint64_t a_first, a_last, b_first, b_last;
    if (length < 8 || length > 16) return memcmp(a, b, length) == 0;
    memcpy(&a_first, a, 8);
    memcpy(&b_first, b, 8);
    memcpy(&a_last, a + length - 8, 8);
    memcpy(&b_last, b + length - 8, 8);
    return a_first == b_first && a_last == b_last;
}

static inline Position literal(Position at, Position end, const char *text, Py_ssize_t length) {
    return end - at >= length && is_same(at, text, (size_t)length) ? at + length : NULL;
}
#define TAKE(text) ((next = literal(at, end, text, sizeof(text) - 1)) != NULL && (at = next, 1))

/* ASCII without control characters, quote and backslash. */
static const unsigned char PLAIN[256] = {[0x20 ... 0x21] = 1, [0x23 ... 0x5b] = 1, [0x5d ... 0x7e] = 1};

/* Past the quote that ends a string of plain characters. */
static inline Position string(Position at) {
    while (PLAIN[(unsigned char)*at]) at++;
    return *at == '"' ? at + 1 : NULL;
}

/* Past the quote that ends a decimal: plain digits of at most 2^53 in all. Then both parts of the quotient are exact as
 * doubles, and the division gives the double nearest to the decimal. */
static inline Position decimal(Position at, double *value) {
    Position first = at, point;
    uint64_t digits = 0;
    Py_ssize_t decimals = 0;
    for (; (unsigned char)(*at - '0') < 10; at++) digits = digits * 10 + (uint64_t)(*at - '0');
    Py_ssize_t whole = at - first;
    if (whole == 0 || (whole > 1 && *first == '0')) return NULL;
    if (*at == '.') {
        for (point = ++at; (unsigned char)(*at - '0') < 10; at++) digits = digits * 10 + (uint64_t)(*at - '0');
        decimals = at - point;
        if (decimals == 0) return NULL;
    }
    if (*at != '"' || whole + decimals > 19 || digits > (uint64_t)1 << 53) return NULL;
    *value = decimals ? (double)digits / POWERS[decimals] : (double)digits;
    return *value <= LARGEST ? at + 1 : NULL;
}

/* {"side":"offer","event_time":"...","price_level":"65106.54","new_quantity":"0.15361938"} */
static inline Position level(Position at, Position end, PyObject *bids, PyObject *asks) {
    Position next;
    PyObject *side;
    double price, size;
    if (!TAKE("{\"side\":\"")) return NULL;
    if (TAKE("bid\",")) side = bids;
    else if (TAKE("offer\",")) side = asks;
    else return NULL;
    if (!TAKE("\"event_time\":\"") || (at = string(at)) == NULL) return NULL;
    if (!TAKE(",\"price_level\":\"") || (at = decimal(at, &price)) == NULL || price <= 0) return NULL;
    if (!TAKE(",\"new_quantity\"") || !TAKE(":\"") || (at = decimal(at, &size)) == NULL || *at != '}') return NULL;
    PyObject *key = PyFloat_FromDouble(price), *amount = PyFloat_FromDouble(size);
    if (key == NULL || amount == NULL || PyDict_SetItem(side, key, amount) < 0) at = NULL;
    Py_XDECREF(key);
    Py_XDECREF(amount);
    return at == NULL ? NULL : at + 1;
}

/* A count of up to 18 digits. */
static Position count_at(Position at, long long *value) {
    Position first = at;
    for (*value = 0; (unsigned char)(*at - '0') < 10 && at - first < 19; at++) *value = *value * 10 + (*at - '0');
    Py_ssize_t length = at - first;
    return length > 0 && length < 19 && (length == 1 || *first != '0') ? at : NULL;
}

PyDoc_STRVAR(parse_level2_doc,
"parse_level2(frame: bytes) -> tuple[int, str, bool, dict[float, float], dict[float, float], int] | None\n\n"
"Sequence, product, whether it is a snapshot, bids and asks (price -> size), and how many levels the frame names; None\n"
"for any frame but one of Advanced Trade's l2_data with one event, in the very spelling of the venue.");

static PyObject *parse_level2(PyObject *module, PyObject *frame) {
    Position at, next, end, product;
    char *start;
    Py_ssize_t length, count = 0;
    long long sequence;
    int is_snapshot;
    (void)module;
    if (!PyBytes_Check(frame) || PyBytes_AsStringAndSize(frame, &start, &length) < 0) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    at = start;
    end = at + length;
    if (!TAKE("{\"channel\":\"") || !TAKE("l2_data\",")) Py_RETURN_NONE;
    if (TAKE("\"client_id\":\"") && ((at = string(at)) == NULL || !TAKE(","))) Py_RETURN_NONE;
    if (!TAKE("\"timestamp\":\"") || (at = string(at)) == NULL || !TAKE(",\"sequence_num\"") || !TAKE(":") ||
        (at = count_at(at, &sequence)) == NULL || !TAKE(",\"events\":[{\"") || !TAKE("type\":\""))
        Py_RETURN_NONE;
    is_snapshot = TAKE("snapshot\",");
    if ((!is_snapshot && !TAKE("update\",")) || !TAKE("\"product_id\":\"")) Py_RETURN_NONE;
    product = at;
    if ((at = string(at)) == NULL || at == product + 1) Py_RETURN_NONE;
    Py_ssize_t product_length = at - 1 - product;
    if (!TAKE(",\"updates\":[")) Py_RETURN_NONE;
    PyObject *bids = PyDict_New(), *asks = PyDict_New(), *result = NULL;
    if (bids == NULL || asks == NULL) goto done;
    do {
        at = level(at, end, bids, asks);
        count++;
    } while (at != NULL && TAKE(","));
    if (at != NULL && TAKE("]}]}") && at == end) {
        PyObject *parts[] = {PyLong_FromLongLong(sequence), PyUnicode_FromStringAndSize(product, product_length),
                             PyBool_FromLong(is_snapshot), bids, asks, PyLong_FromSsize_t(count)};
        if ((result = PyTuple_New(6)) == NULL) goto done;
        for (Py_ssize_t i = 0; i < 6; i++) PyTuple_SetItem(result, i, parts[i]);
        return PyErr_Occurred() ? (Py_DECREF(result), NULL) : result;
    }
    if (!PyErr_Occurred()) {
        Py_INCREF(Py_None);
        result = Py_None;
    }
done:
    Py_XDECREF(bids);
    Py_XDECREF(asks);
    return result;
}

/* --- Exact sums --------------------------------------------------------------------------------------------------- */

static int bits_of(u128 value) {
    uint64_t high = (uint64_t)(value >> 64), low = (uint64_t)value;
    return high ? 128 - __builtin_clzll(high) : low ? 64 - __builtin_clzll(low) : 0;
}

/* a / b, correctly rounded, as Python divides its integers; 0 where that does not fit 128 bits. */
static int quotient(i128 a, u128 b, double *result) {
    u128 magnitude = a < 0 ? -(u128)a : (u128)a;
    if (magnitude <= (u128)1 << 53 && b <= (u128)1 << 53) {
        *result = (double)(int64_t)a / (double)(uint64_t)b;
        return 1;
    }
    /* 55 or 56 bits of quotient; the last one stands for all that are cut off, and the conversion rounds half to even */
    int shift = 56 - (bits_of(magnitude) - bits_of(b));
    if (shift >= 0) {
        if (bits_of(magnitude) + shift > 128) return 0;
        magnitude <<= shift;
    } else {
        if (bits_of(b) - shift > 128) return 0;
        b <<= -shift;
    }
    uint64_t whole = (uint64_t)(magnitude / b);
    if (magnitude % b != 0) whole |= 1;
    *result = ldexp((double)whole, -shift);
    if (a < 0) *result = -*result;
    return 1;
}

static i128 floor_divide(i128 a, i128 b) {
    i128 whole = a / b;
    return a % b != 0 && a < 0 ? whole - 1 : whole;
}

/* One level: what the arrays of book/bins.py hold in three arrays. ``key`` is the price, negative for a bid. */
typedef struct {
    double key;
    int64_t ticks, units;
} Level;

typedef struct {
    PyObject_HEAD
    Level *levels;
    Py_ssize_t count, capacity, finger, bins;
    int64_t *edges; /* numerator and denominator of each bin's width as a part of mid, the narrowest first */
    double low, high, price_factor, size_factor;
} Levels;

/* value x factor as an exact integer; 0 if it is none. */
static inline int whole_of(double value, double factor, int64_t *whole) {
    double scaled = rint(value * factor);
    if (!(scaled < EXACT) || scaled / factor != value) return 0;
    *whole = (int64_t)scaled;
    return 1;
}

/* Raises the factor until the value is whole; 0 where that takes more digits than a double has. */
static int raise_factor(double value, double *factor) {
    int64_t whole;
    while (!whole_of(value, *factor, &whole)) {
        if (!(rint(value * *factor) < EXACT) || *factor >= 1e22) return 0;
        *factor *= 10;
    }
    return 1;
}

/* The first level whose key is not below ``key``: often the neighbour of the one found before. */
static Py_ssize_t find(Levels *self, double key) {
    const Level *levels = self->levels;
    Py_ssize_t at = self->finger, low = 0, high = self->count;
    if (at < high && levels[at].key < key) {
        low = at + 1;
        if (low < high && levels[low].key >= key) high = low;
    } else if (at < high) {
        high = at;
        if (at > 0 && levels[at - 1].key < key) low = at;
        else if (at > 1 && levels[at - 2].key < key) low = high = at - 1;
    }
    while (low < high) {
        Py_ssize_t middle = low + (high - low) / 2;
        if (levels[middle].key < key) low = middle + 1;
        else high = middle;
    }
    self->finger = low;
    return low;
}

static int reserve(Levels *self, Py_ssize_t wanted) {
    if (wanted <= self->capacity) return 1;
    Py_ssize_t capacity = wanted + wanted / 2 + 64;
    Level *levels = PyMem_Realloc(self->levels, (size_t)capacity * sizeof(Level));
    if (levels == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    self->levels = levels;
    self->capacity = capacity;
    return 1;
}

/* Drops the deleted levels when they have become many. */
static void compact(Levels *self) {
    Py_ssize_t kept = 0;
    for (Py_ssize_t i = 0; i < self->count; i++) kept += self->levels[i].units > 0;
    if (2 * kept >= self->count) return;
    kept = 0;
    for (Py_ssize_t i = 0; i < self->count; i++)
        if (self->levels[i].units > 0) self->levels[kept++] = self->levels[i];
    self->count = kept;
    self->finger = 0;
}

/* 1 entered, 0 more digits needed than before, -1 error. */
static int enter_level(Levels *self, double price, double size, int is_bid) {
    int64_t units, ticks;
    double key = is_bid ? -price : price;
    if (!whole_of(size, self->size_factor, &units)) return 0;
    Py_ssize_t at = find(self, key);
    if (at < self->count && self->levels[at].key == key) {
        self->levels[at].units = units;
        return 1;
    }
    if (units == 0 || (is_bid ? price < self->low : price > self->high)) return 1;
    if (!whole_of(price, self->price_factor, &ticks)) return 0;
    if (self->count == self->capacity) {
        compact(self);
        if (!reserve(self, self->count + 1)) return -1;
        at = find(self, key);
    }
    memmove(self->levels + at + 1, self->levels + at, (size_t)(self->count - at) * sizeof(Level));
    self->levels[at] = (Level){key, is_bid ? -ticks : ticks, units};
    self->count++;
    return 1;
}

static int enter_side(Levels *self, PyObject *sizes, int is_bid) {
    PyObject *price, *size;
    Py_ssize_t position = 0;
    while (PyDict_Next(sizes, &position, &price, &size)) {
        int entered = enter_level(self, PyFloat_AsDouble(price), PyFloat_AsDouble(size), is_bid);
        if (entered <= 0) return entered;
    }
    return 1;
}

PyDoc_STRVAR(enter_doc,
"enter(bids: dict[float, float], asks: dict[float, float]) -> bool\n\n"
"Takes in what changed, price -> size; False when that needs more digits than anything before it: then load.");

static PyObject *levels_enter(Levels *self, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2 || !PyDict_Check(arguments[0]) || !PyDict_Check(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "enter takes two dicts");
        return NULL;
    }
    int entered = enter_side(self, arguments[0], 1);
    if (entered > 0) entered = enter_side(self, arguments[1], 0);
    if (entered < 0 || PyErr_Occurred()) return NULL;
    return PyBool_FromLong(entered);
}

PyDoc_STRVAR(load_doc,
"load(bid_count: int, prices: list[float], sizes: list[float], low: float, high: float) -> bool\n\n"
"Forgets everything and holds these levels: first ``bid_count`` bids from ``low`` up, then asks up to ``high``, either from\n"
"the touch outwards; False if they have more digits than a double holds.");

static PyObject *levels_load(Levels *self, PyObject *arguments) {
    Py_ssize_t bid_count;
    PyObject *prices, *sizes;
    if (!PyArg_ParseTuple(arguments, "nOOdd", &bid_count, &prices, &sizes, &self->low, &self->high)) return NULL;
    Py_ssize_t count = PyList_Size(prices);
    if (count < 0 || PyList_Size(sizes) != count) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "as many sizes as prices");
        return NULL;
    }
    self->count = self->finger = 0;
    if (!reserve(self, count)) return NULL;
    for (Py_ssize_t i = 0; i < count; i++)
        if (!raise_factor(PyFloat_AsDouble(PyList_GetItem(prices, i)), &self->price_factor) ||
            !raise_factor(PyFloat_AsDouble(PyList_GetItem(sizes, i)), &self->size_factor))
            return PyErr_Occurred() ? NULL : PyBool_FromLong(0);
    for (Py_ssize_t i = 0; i < count; i++) {
        Level level = {PyFloat_AsDouble(PyList_GetItem(prices, i)), 0, 0};
        if (!whole_of(level.key, self->price_factor, &level.ticks) ||
            !whole_of(PyFloat_AsDouble(PyList_GetItem(sizes, i)), self->size_factor, &level.units))
            Py_RETURN_FALSE;
        if (i < bid_count) level = (Level){-level.key, -level.ticks, level.units};
        self->levels[i] = level;
    }
    self->count = count;
    Py_RETURN_TRUE;
}

/* Sums over levels from the touch outwards. */
typedef struct {
    i128 volume, notional;
    int64_t levels;
} Sums;

static inline void add(Sums *sums, const Level *level) {
    sums->levels += level->units > 0;
    sums->volume += level->units;
    sums->notional += (i128)(level->ticks < 0 ? -level->ticks : level->ticks) * level->units;
}

static int set_float(PyObject *figures, Py_ssize_t at, double value) {
    PyObject *number = PyFloat_FromDouble(value);
    return number == NULL ? -1 : PyTuple_SetItem(figures, at, number);
}

/* levels, notional, volume, vwap of one bin; 0 where a quotient does not fit. */
static int set_depth(Levels *self, PyObject *figures, Py_ssize_t at, const Sums *sums) {
    double notional = 0, volume = 0, vwap = 0;
    PyObject *levels = PyLong_FromLongLong(sums->levels), *none = Py_None;
    if (levels == NULL || PyTuple_SetItem(figures, at, levels) < 0) return -1;
    if (sums->levels &&
        (!quotient(sums->notional, (u128)self->price_factor * (u128)self->size_factor, &notional) ||
         !quotient(sums->volume, (u128)self->size_factor, &volume) ||
         !quotient(sums->notional, (u128)sums->volume * (u128)self->price_factor, &vwap)))
        return 0;
    if (set_float(figures, at + 1, notional) < 0 || set_float(figures, at + 2, volume) < 0) return -1;
    if (sums->levels) return set_float(figures, at + 3, vwap) < 0 ? -1 : 1;
    Py_INCREF(none);
    return PyTuple_SetItem(figures, at + 3, none) < 0 ? -1 : 1;
}

/* The best of either side; 0 while one is empty. ``*first_ask`` is where the asks begin, whatever rests there. */
static int touch_of(const Levels *self, const Level **bid, const Level **ask, const Level **first_ask) {
    const Level *levels = self->levels, *end = levels + self->count;
    Py_ssize_t low = 0, high = self->count;
    while (low < high) {
        Py_ssize_t middle = low + (high - low) / 2;
        if (levels[middle].key < 0) low = middle + 1;
        else high = middle;
    }
    *first_ask = levels + low;
    for (*bid = levels; *bid < *first_ask && (*bid)->units == 0;) ++*bid;
    for (*ask = *first_ask; *ask < end && (*ask)->units == 0;) ++*ask;
    return *bid < *first_ask && *ask < end;
}

PyDoc_STRVAR(touch_doc,
"touch() -> tuple[float, float] | None\n\n"
"The best bid and the best ask; None while a side is empty, or when the levels do not reach far enough.");

static PyObject *levels_touch(Levels *self, PyObject *unused) {
    const Level *bid, *ask, *first_ask;
    (void)unused;
    if (!touch_of(self, &bid, &ask, &first_ask)) Py_RETURN_NONE;
    return Py_BuildValue("(dd)", -bid->key, ask->key);
}

PyDoc_STRVAR(measure_doc,
"measure() -> tuple[float | int | None, ...] | None | False\n\n"
"ask, ask size, bid, bid size, microprice, mid, spread in bps; then levels, notional, volume and vwap of each bin, those\n"
"of bids first: each rounded once. None while a side is empty or the levels do not reach far enough; False where 128 bits\n"
"are not enough.");

static PyObject *levels_measure(Levels *self, PyObject *unused) {
    const Level *levels = self->levels, *end = levels + self->count, *bid, *touch, *ask;
    Py_ssize_t bins = self->bins;
    double figure[7];
    (void)unused;
    if (!touch_of(self, &bid, &ask, &touch)) Py_RETURN_NONE;
    i128 twice_mid = (i128)ask->ticks - bid->ticks;
    u128 per_price = (u128)self->price_factor;
    /* |price - mid| <= mid * n / d  <=>  twice_mid * (d - n) / 2d <= price <= twice_mid * (d + n) / 2d, in ticks */
    const int64_t *widest = self->edges + 2 * (bins - 1);
    i128 lowest = floor_divide(-twice_mid * (widest[1] - widest[0]), 2 * (i128)widest[1]);
    i128 highest = floor_divide(twice_mid * (widest[1] + widest[0]), 2 * (i128)widest[1]);
    if ((double)-lowest < self->low * self->price_factor || (double)highest > self->high * self->price_factor)
        Py_RETURN_NONE;
    figure[0] = (double)ask->ticks / self->price_factor;
    figure[1] = (double)ask->units / self->size_factor;
    figure[2] = (double)-bid->ticks / self->price_factor;
    figure[3] = (double)bid->units / self->size_factor;
    i128 weighted = (i128)-bid->ticks * ask->units + (i128)ask->ticks * bid->units;
    if (!quotient(weighted, (u128)((i128)bid->units + ask->units) * per_price, &figure[4]) ||
        !quotient(twice_mid, 2 * per_price, &figure[5]) ||
        !quotient(((i128)ask->ticks + bid->ticks) * 20000, (u128)twice_mid, &figure[6]))
        Py_RETURN_FALSE;
    PyObject *figures = PyTuple_New(7 + 8 * bins);
    if (figures == NULL) return NULL;
    for (Py_ssize_t i = 0; i < 7; i++)
        if (set_float(figures, i, figure[i]) < 0) goto failed;
    for (int side = 0; side < 2; side++) {
        const Level *level = side == 0 ? levels : touch, *last = side == 0 ? touch : end;
        Sums sums = {0, 0, 0};
        for (Py_ssize_t bin = 0; bin < bins; bin++) {
            int64_t n = self->edges[2 * bin], d = self->edges[2 * bin + 1];
            i128 bound = floor_divide(twice_mid * (side == 0 ? n - d : n + d), 2 * (i128)d);
            int64_t within = (int64_t)bound;
            while (level < last && level->ticks <= within) add(&sums, level++);
            int set = set_depth(self, figures, 7 + 4 * (side * bins + bin), &sums);
            if (set < 0) goto failed;
            if (set == 0) {
                Py_DECREF(figures);
                Py_RETURN_FALSE;
            }
        }
    }
    return figures;
failed:
    Py_DECREF(figures);
    return NULL;
}

static int levels_init(Levels *self, PyObject *arguments, PyObject *named) {
    static char *names[] = {"edges", NULL};
    PyObject *edges;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "O", names, &edges)) return -1;
    Py_ssize_t bins = PySequence_Size(edges);
    if (bins < 1) {
        if (bins == 0) PyErr_SetString(PyExc_ValueError, "no bins");
        return -1;
    }
    PyMem_Free(self->edges);
    self->edges = PyMem_Calloc((size_t)bins, 2 * sizeof(int64_t));
    if (self->edges == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->bins = bins;
    self->price_factor = self->size_factor = 1;
    for (Py_ssize_t i = 0; i < bins; i++) {
        PyObject *edge = PySequence_GetItem(edges, i);
        long long numerator, denominator;
        int parsed = edge != NULL && PyArg_ParseTuple(edge, "LL", &numerator, &denominator);
        Py_XDECREF(edge);
        if (!parsed) return -1;
        if (numerator < 1 || denominator < 1 || numerator > 1000000000000LL || denominator > 1000000000000LL) {
            PyErr_SetString(PyExc_ValueError, "an edge of too many digits");
            return -1;
        }
        self->edges[2 * i] = numerator;
        self->edges[2 * i + 1] = denominator;
    }
    return 0;
}

static void levels_dealloc(Levels *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyMem_Free(self->levels);
    PyMem_Free(self->edges);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyMethodDef levels_methods[] = {
    {"load", (PyCFunction)levels_load, METH_VARARGS, load_doc},
    {"enter", (PyCFunction)(void (*)(void))levels_enter, METH_FASTCALL, enter_doc},
    {"touch", (PyCFunction)levels_touch, METH_NOARGS, touch_doc},
    {"measure", (PyCFunction)levels_measure, METH_NOARGS, measure_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(levels_doc,
"Levels(edges: Sequence[tuple[int, int]])\n\n"
"The levels around mid, in order from the touch outwards, as whole ticks and units; ``edges`` are the widths of the bins\n"
"as parts of mid, numerator and denominator, rising.");

static PyType_Slot levels_slots[] = {
    {Py_tp_doc, (void *)levels_doc},
    {Py_tp_init, levels_init},
    {Py_tp_dealloc, levels_dealloc},
    {Py_tp_methods, levels_methods},
    {0, NULL},
};

static PyType_Spec levels_spec = {"book.speedups.Levels", sizeof(Levels), 0, Py_TPFLAGS_DEFAULT, levels_slots};

/* --- Lines -------------------------------------------------------------------------------------------------------- */

PyDoc_STRVAR(sample_lines_doc,
"sample_lines(parts: bytes, figures: bytes, time: bytes) -> bytes\n\n"
"``parts`` with a figure in place of each byte 1, and ``time`` in place of each byte 2. A field, from its comma or name\n"
"(after a byte 3) on, is left out where its figure is null. ``figures`` are JSON, separated by commas.");

static PyObject *sample_lines(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    char *parts, *figures, *time;
    Py_ssize_t parts_length, figures_length, time_length;
    (void)module;
    if (count != 3 || PyBytes_AsStringAndSize(arguments[0], &parts, &parts_length) < 0 ||
        PyBytes_AsStringAndSize(arguments[1], &figures, &figures_length) < 0 ||
        PyBytes_AsStringAndSize(arguments[2], &time, &time_length) < 0) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "sample_lines takes three bytes");
        return NULL;
    }
    Py_ssize_t times = 0;
    for (Py_ssize_t i = 0; i < parts_length; i++) times += parts[i] == 2;
    char *buffer = PyMem_Malloc((size_t)(parts_length + figures_length + times * time_length + 1));
    if (buffer == NULL) return PyErr_NoMemory();
    char *out = buffer, *field = buffer;
    const char *figure = figures, *last = figures + figures_length;
    for (const char *part = parts, *end = parts + parts_length; part < end; part++) {
        if (*part == 3) {
            field = out;
        } else if (*part == 2) {
            memcpy(out, time, (size_t)time_length);
            out += time_length;
        } else if (*part == 1) {
            const char *comma = memchr(figure, ',', (size_t)(last - figure));
            Py_ssize_t length = (comma == NULL ? last : comma) - figure;
            if (length == 4 && memcmp(figure, "null", 4) == 0) {
                out = field;
            } else {
                memcpy(out, figure, (size_t)length);
                out += length;
            }
            figure += length + (comma != NULL);
        } else {
            *out++ = *part;
        }
    }
    PyObject *lines = PyBytes_FromStringAndSize(buffer, out - buffer);
    PyMem_Free(buffer);
    return lines;
}

/* --- The module --------------------------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"parse_level2", parse_level2, METH_O, parse_level2_doc},
    {"sample_lines", (PyCFunction)(void (*)(void))sample_lines, METH_FASTCALL, sample_lines_doc},
    {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &levels_spec, NULL);
    if (type == NULL || PyModule_AddObjectRef(module, "Levels", type) < 0) {
        Py_XDECREF(type);
        return -1;
    }
    Py_DECREF(type);
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "book.speedups", "Native versions of the hottest loops; see book/native.py.", 0, methods,
    slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_speedups(void) { return PyModuleDef_Init(&definition); }
