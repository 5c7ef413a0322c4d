// Copies and compares memory in the static program for x86-64, in place of musl: its functions take up to 13 times as long as
// those of glibc for short lengths (docs/performance.md). For 64-bit ARM, musl has functions in assembly.
//
// Every load and store is inside of the given bytes. Short lengths have no loop: two loads from both ends, which may overlap,
// cover them. All loads come before the stores, so source and destination may overlap.

#include <emmintrin.h>
#include <stddef.h>
#include <stdint.h>

// Tests give the functions other names, because they compare them with those of the C library.
#ifndef NAMED
#define NAMED(function) function
#endif

// Another name of a function.
#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define SAME_AS(function) __attribute__((alias(TEXT(NAMED(function)))))

// From this length on, the processor's own copying is faster than a loop.
#define BULK 1024

typedef __m128i vector;

static inline vector load(const unsigned char *from) { return _mm_loadu_si128((const vector *)from); }
static inline void store(unsigned char *to, vector value) { _mm_storeu_si128((vector *)to, value); }

// Integers of a type at any address.
#define INTEGER(type, bits) \
    static inline type load##bits(const unsigned char *from) { \
        struct __attribute__((packed, may_alias)) any { type value; }; \
        return ((const struct any *)from)->value; \
    } \
    static inline void store##bits(unsigned char *to, type value) { \
        struct __attribute__((packed, may_alias)) any { type value; }; \
        ((struct any *)to)->value = value; \
    }
INTEGER(uint16_t, 16)
INTEGER(uint32_t, 32)
INTEGER(uint64_t, 64)

// Copies a length of up to twice the size of the type, and at least its size.
#define COPY_ENDS(bits) \
    do { \
        uint##bits##_t first = load##bits(s), last = load##bits(s + n - bits / 8); \
        store##bits(d, first); \
        store##bits(d + n - bits / 8, last); \
    } while (0)

// More than 128 bytes. The last 64 of them, or the first if it goes backwards, are loaded before the loop can overwrite them.
static __attribute__((noinline)) void copy_long(unsigned char *d, const unsigned char *s, size_t n) {
    size_t forward = (size_t)(d - s), backward = (size_t)(s - d);
    // Between addresses that are nearly the same in a page, that copying is ten times as slow.
    int is_aliased = (forward + 64) % 4096 < 128;
    if (n >= BULK && forward >= n && backward >= n && !is_aliased) {
        __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
        return;
    }
    const unsigned char *end = forward >= n ? s + n - 64 : s;
    vector a = load(end), b = load(end + 16), c = load(end + 32), e = load(end + 48);
    unsigned char *to = d + (end - s);
    for (size_t left = n, at; left > 64; left -= 64) {
        at = forward >= n ? n - left : left - 64;
        vector w = load(s + at), x = load(s + at + 16), y = load(s + at + 32), z = load(s + at + 48);
        store(d + at, w), store(d + at + 16, x), store(d + at + 32, y), store(d + at + 48, z);
    }
    store(to, a), store(to + 16, b), store(to + 32, c), store(to + 48, e);
}

void *NAMED(memmove)(void *to, const void *from, size_t n) {
    unsigned char *d = to;
    const unsigned char *s = from;
    if (n < 16) {
        if (n >= 8)
            COPY_ENDS(64);
        else if (n >= 4)
            COPY_ENDS(32);
        else if (n >= 2)
            COPY_ENDS(16);
        else if (n)
            *d = *s;
    } else if (n <= 32) {
        vector a = load(s), z = load(s + n - 16);
        store(d, a), store(d + n - 16, z);
    } else if (n <= 64) {
        vector a = load(s), b = load(s + 16), y = load(s + n - 32), z = load(s + n - 16);
        store(d, a), store(d + 16, b), store(d + n - 32, y), store(d + n - 16, z);
    } else if (n <= 128) {
        vector a = load(s), b = load(s + 16), c = load(s + 32), e = load(s + 48);
        vector w = load(s + n - 64), x = load(s + n - 48), y = load(s + n - 32), z = load(s + n - 16);
        store(d, a), store(d + 16, b), store(d + 32, c), store(d + 48, e);
        store(d + n - 64, w), store(d + n - 48, x), store(d + n - 32, y), store(d + n - 16, z);
    } else {
        copy_long(d, s, n);
    }
    return to;
}

// Programs call it with overlapping bytes, too, although they may not.
SAME_AS(memmove) void *NAMED(memcpy)(void *to, const void *from, size_t n);

// The bytes of two vectors that differ, each as a bit.
static inline unsigned differing(const unsigned char *a, const unsigned char *b) {
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(load(a), load(b))) ^ 0xffff;
}

// The same for four vectors, without saying which bytes.
static inline unsigned differ64(const unsigned char *a, const unsigned char *b) {
    vector first = _mm_and_si128(_mm_cmpeq_epi8(load(a), load(b)), _mm_cmpeq_epi8(load(a + 16), load(b + 16)));
    vector last = _mm_and_si128(_mm_cmpeq_epi8(load(a + 32), load(b + 32)), _mm_cmpeq_epi8(load(a + 48), load(b + 48)));
    return (unsigned)_mm_movemask_epi8(_mm_and_si128(first, last)) ^ 0xffff;
}

// The first byte has most weight.
#define COMPARE_AT(bits, at) \
    do { \
        uint##bits##_t x = load##bits(a + (at)), y = load##bits(b + (at)); \
        if (x != y) \
            return __builtin_bswap##bits(x) < __builtin_bswap##bits(y) ? -1 : 1; \
    } while (0)

#define COMPARE_ENDS(bits) \
    do { \
        COMPARE_AT(bits, 0); \
        COMPARE_AT(bits, n - bits / 8); \
        return 0; \
    } while (0)

int NAMED(memcmp)(const void *left, const void *right, size_t n) {
    const unsigned char *a = left, *b = right;
    if (n < 16) {
        if (n >= 8)
            COMPARE_ENDS(64);
        if (n >= 4)
            COMPARE_ENDS(32);
        if (n >= 2)
            COMPARE_ENDS(16);
        return n ? *a - *b : 0;
    }
    size_t at = 0;
    while (n - at >= 64 && !differ64(a + at, b + at))
        at += 64;
    for (; at < n; at += 16) {
        if (n - at < 16)
            at = n - 16;
        unsigned bits = differing(a + at, b + at);
        if (bits) {
            at += (size_t)__builtin_ctz(bits);
            return a[at] - b[at];
        }
    }
    return 0;
}

SAME_AS(memcmp) int NAMED(bcmp)(const void *left, const void *right, size_t n);
