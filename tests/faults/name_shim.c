/* Preloaded into a process, it is the resolver for one name: `SHIM_NAME` is the name, `SHIM_ADDRESS` names a file with
   its address of the moment, which is read anew each time. An empty file: the resolver does not answer. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    const char *ours = getenv("SHIM_NAME"), *path = getenv("SHIM_ADDRESS");
    char address[64];
    if (real == NULL) real = (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(RTLD_NEXT, "getaddrinfo");
    if (name == NULL || ours == NULL || path == NULL || strcmp(name, ours) != 0) return real(name, service, hints, found);
    FILE *file = fopen(path, "re");
    int read = file == NULL ? 0 : fscanf(file, "%63s", address);
    if (file != NULL) fclose(file);
    return read == 1 ? real(address, service, hints, found) : EAI_AGAIN;
}
