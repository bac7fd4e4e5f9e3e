/* SPDX-License-Identifier: Apache-2.0 */
/* An application that links nothing of samed: one process, a request a line, an answer a line.
 *     10_serve samed model.safetensors picture.png mask.png
 * The image is embedded once; each click after that costs a decoder pass. `samed serve --help` lists the requests. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static FILE *to_samed, *from_samed;

/* Sends one line and returns the line that answers it. */
static char const* ask(char const* request) {
    static char answer[1 << 20];
    fprintf(to_samed, "%s\n", request);
    fflush(to_samed);
    if (fgets(answer, sizeof answer, from_samed) == NULL) {
        fprintf(stderr, "samed ended\n");
        exit(2);
    }
    printf("> %s\n< %.100s\n", request, answer);
    return answer;
}

int main(int argc, char** argv) {
    if (argc < 5) return fprintf(stderr, "usage: 10_serve SAMED MODEL PICTURE MASK\n"), 2;
    int in[2], out[2];
    if (pipe(in) != 0 || pipe(out) != 0) return perror("pipe"), 2;
    pid_t const child = fork();
    if (child == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        execl(argv[1], argv[1], "serve", "-m", argv[2], (char*)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    to_samed = fdopen(in[1], "w");
    from_samed = fdopen(out[0], "r");

    char request[4096];
    ask("{\"op\": \"info\"}");
    snprintf(request, sizeof request, "{\"id\": 1, \"op\": \"set_image\", \"path\": \"%s\"}", argv[3]);
    ask(request);
    snprintf(request, sizeof request, "{\"id\": 2, \"op\": \"predict\", \"points\": [[60, 70, 1]], \"output\": \"%s\"}", argv[4]);
    ask(request);
    /* The mask of the answer before, refined by a click beside the object. */
    int const good =
        strstr(ask("{\"id\": 3, \"op\": \"predict\", \"points\": [[60, 70, 1], [5, 5, 0]], \"mask\": 0}"), "\"error\"") == NULL;
    int const refused = strstr(ask("{\"id\": 4, \"op\": \"predict\", \"points\": [[9999, 5, 1]]}"), "out_of_range") != NULL;

    fclose(to_samed); /* the end of the requests ends samed */
    int status = 0;
    waitpid(child, &status, 0);
    return good && refused && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 2;
}
