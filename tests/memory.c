// Compares the functions of scripts/lib/memory.c with loops over bytes: all lengths up to 300, at all alignments, with overlap,
// and beside pages that nobody may read or write.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *tested_memcpy(void *, const void *, size_t);
void *tested_memmove(void *, const void *, size_t);
int tested_memcmp(const void *, const void *, size_t);
int tested_bcmp(const void *, const void *, size_t);

#define LENGTH 300
#define PAGE 4096
#define LARGE (4 * PAGE)

typedef unsigned char byte;

static void fail(const char *what, size_t n, size_t from, size_t to) {
    printf("%s: length %zu, from %zu, to %zu\n", what, n, from, to);
    exit(1);
}

// The size of the buffers.
static size_t size;

// A buffer between two pages that nobody may touch.
static byte *fenced(void) {
    byte *all = mmap(NULL, size + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all + PAGE, size, PROT_READ | PROT_WRITE))
        fail("mmap", 0, 0, 0);
    return all + PAGE;
}

static void fill(byte *bytes, byte seed) {
    for (size_t i = 0; i < size; i++)
        bytes[i] = (byte)(i * 7 + (i >> 8) + seed);
}

// Moves in one buffer, or copies from one into another, and compares the whole result.
static void copies(byte *source, byte *target, size_t from, size_t to, size_t n) {
    static byte expected[LARGE];
    fill(source, 1), fill(target, source == target ? 1 : 2);
    for (size_t i = 0; i < size; i++)
        expected[i] = i >= to && i < to + n ? source[from + i - to] : target[i];
    void *(*function)(void *, const void *, size_t) = n % 2 ? tested_memmove : tested_memcpy;
    if (function(target + to, source + from, n) != target + to)
        fail("result", n, from, to);
    for (size_t i = 0; i < size; i++)
        if (target[i] != expected[i])
            fail("copy", n, from, to);
}

static int sign(int number) { return (number > 0) - (number < 0); }

// Compares equal bytes, and bytes that differ at one place and, in the other direction, in all behind it.
static void compares(byte *a, byte *b, size_t from, size_t to, size_t n) {
    fill(a, 0), fill(b, 0);
    for (size_t i = 0; i < n; i++)
        b[to + i] = a[from + i];
    if (tested_memcmp(a + from, b + to, n) || tested_bcmp(a + from, b + to, n))
        fail("equal", n, from, to);
    for (size_t at = n; at-- > 0;) {
        a[from + at] = 0x7f, b[to + at] = 0x80;
        if (tested_memcmp(a + from, b + to, n) >= 0 || tested_memcmp(b + to, a + from, n) <= 0 ||
            !tested_bcmp(a + from, b + to, n))
            fail("memcmp", n, from, to);
        a[from + at] = 2, b[to + at] = 1;
        if (sign(tested_memcmp(a + from, b + to, n)) != 1)
            fail("memcmp, greater", n, from, to);
    }
}

static void short_lengths(void) {
    size = PAGE;
    byte *a = fenced(), *b = fenced();
    for (size_t n = 0; n <= LENGTH; n++) {
        for (size_t from = 0; from < 16; from++) {
            copies(a, b, from, n % 16, n), copies(a, b, n % 16, from, n);
            compares(a, b, from, n % 16, n);
        }
        // Overlap in both directions.
        for (size_t to = 0; to <= 2 * LENGTH; to += n > 128 ? 1 : 3)
            copies(a, a, LENGTH, to, n);
        copies(a, b, size - n, 0, n), copies(a, b, 0, size - n, n);
        compares(a, b, size - n, 0, n), compares(a, b, 0, size - n, n);
    }
}

// Lengths that are copied in another way.
static void long_lengths(void) {
    size = LARGE;
    byte *a = fenced(), *b = fenced();
    for (size_t n = 1000; n <= LARGE / 2; n += n < 1100 ? 1 : 997) {
        copies(a, b, size - n, 0, n), copies(a, b, 0, size - n, n);
        copies(a, a, 100, 0, n), copies(a, a, 0, 100, n), copies(a, a, 3, 3 + n, n);
    }
}

int main(void) {
    short_lengths();
    long_lengths();
    return 0;
}
