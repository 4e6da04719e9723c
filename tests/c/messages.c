/* untty_step_name, untty_error_message at every buffer size, untty_version. */

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <untty.h>

static int wrong;

static void describe(const struct untty_error *error) {
    char whole[512];
    size_t length = untty_error_message(error, whole, sizeof whole);
    size_t size;
    if (length >= sizeof whole || strlen(whole) != length) {
        printf("length %lu of '%s'\n", (unsigned long)length, whole);
        wrong++;
        return;
    }
    for (size = 0; size <= length + 2; size++) {
        char ours[512];
        char theirs[512];
        memset(ours, '#', sizeof ours);
        memset(theirs, '#', sizeof theirs);
        if (untty_error_message(error, ours, size) != length) {
            printf("another length with size %lu\n", (unsigned long)size);
            wrong++;
        }
        (void)snprintf(theirs, size, "%s", whole);
        if (memcmp(ours, theirs, sizeof ours) != 0) {
            printf("not as snprintf with size %lu\n", (unsigned long)size);
            wrong++;
        }
    }
    if (untty_error_message(error, NULL, 0) != length || untty_error_message(error, NULL, 10) != length) {
        printf("another length without a buffer\n");
        wrong++;
    }
    if (error == NULL) {
        printf("NULL: %s\n", whole);
    } else {
        printf("%d %d: %s\n", (int)error->step, (int)error->errnum, whole);
    }
}

int main(void) {
    static const int steps[] = {-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17,
                                18, 19, 20, 21, 22, 23, 24, 25, 26, INT_MAX, INT_MIN};
    static const struct untty_error errors[] = {{0, 0},   {1, 22},     {2, 16},      {3, 2},   {4, 6},     {5, 9},
                                                {6, 24},  {7, 11},     {8, 1},       {9, 11},  {10, 1},    {11, 13},
                                                {12, 38}, {13, 1},     {14, 32},     {15, 3},  {15, 110},  {15, 71},
                                                {16, 2},  {17, 7},     {17, 255},    {99, 2},  {8, 0},     {8, -5},
                                                {8, 9999}, {8, INT_MAX}, {8, INT_MIN}, {-1, 13}, {8, 41}, {8, 133},
                                                {8, 134},   {18, 1},    {19, 17},    {19, 22},
                                                {19, 13}, {20, 1},    {21, 22},   {22, 11}, {23, 1}, {24, 111},
                                                {25, 30}, {26, 2}};
    size_t index;
    for (index = 0; index < sizeof steps / sizeof steps[0]; index++) {
        printf("step %d: %s\n", steps[index], untty_step_name(steps[index]));
    }
    describe(NULL);
    for (index = 0; index < sizeof errors / sizeof errors[0]; index++) {
        describe(&errors[index]);
    }
    printf("version %s\n", untty_version());
    return wrong == 0 ? 0 : 1;
}
