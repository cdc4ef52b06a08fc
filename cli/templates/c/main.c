// Counts, once a second. Move it while it runs: it goes on counting where it was.

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "wayfare.h" // for messages, values and devices

int main(int argc, char **argv) {
    int limit = argc > 1 ? atoi(argv[1]) : 0;
    for (int count = 1; limit == 0 || count <= limit; count++) {
        printf("hello %d\n", count);
        fflush(stdout);
        sleep(1);
    }
    return 0;
}
