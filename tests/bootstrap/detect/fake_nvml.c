/* A small libnvidia-ml: real C behind the real ctypes, told by FAKE_NVML what it is.
 *
 * FAKE_NVML holds one GPU after another, divided by ';':
 *   name,total MiB,free MiB,reserved MiB,major,minor,state,slices
 * state: ok, lost, nopower, unified (no memory of its own) or old (a driver that does not describe slices);
 * slices: how many MIG slices it is cut into, each an equal part of the memory.
 * FAKE_PCIE holds the link of one GPU after another as "generation x lanes", "4x16" when absent; 0x0 has none.
 * FAKE_NVML_INIT is the code that nvmlInit returns, 0 when absent. The library is also a libcuda.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int nvmlReturn_t;
enum { SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, LOST = 15 };

typedef struct {
    char name[64], state[16];
    unsigned long long total, free, reserved;
    int major, minor, slices, generation, lanes;
} Gpu;
typedef struct { int gpu, slice; } Device; /* slice -1: the whole */
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } Memory2;

static Gpu gpus[8];
static int count;
static Device devices[8][9];

static const char *env(const char *name, const char *fallback) {
    const char *value = getenv(name);
    return value ? value : fallback;
}

nvmlReturn_t nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    int code = atoi(env("FAKE_NVML_INIT", "0"));
    if (code) return code;
    char *text = strdup(env("FAKE_NVML", ""));
    count = 0;
    for (char *row = strtok(text, ";"); row && count < 8; row = strtok(NULL, ";")) {
        Gpu *g = &gpus[count];
        unsigned long long total, available, reserved;
        if (sscanf(row, "%63[^,],%llu,%llu,%llu,%d,%d,%15[^,],%d", g->name, &total, &available, &reserved,
                   &g->major, &g->minor, g->state, &g->slices) != 8) return INVALID;
        g->total = total << 20; g->free = available << 20; g->reserved = reserved << 20;
        g->generation = 4; g->lanes = 16;
        for (int s = 0; s < 9; s++) devices[count][s] = (Device){count, s - 1};
        count++;
    }
    free(text);
    const char *link = env("FAKE_PCIE", "");
    for (int i = 0; i < count && sscanf(link, "%dx%d", &gpus[i].generation, &gpus[i].lanes) == 2; i++)
        if ((link = strchr(link, ';'))) link++; else break;
    return SUCCESS;
}
nvmlReturn_t nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(nvmlReturn_t code) { return code == LOST ? "GPU is lost" : "some NVML error"; }
nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    snprintf(version, length, "%s", env("FAKE_DRIVER", "580.95.05"));
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *number) { *number = count; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, Device **device) {
    if ((int)index >= count) return INVALID;
    if (!strcmp(gpus[index].state, "lost")) return LOST;
    *device = &devices[index][0];
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetUUID(Device *d, char *uuid, unsigned int length) {
    if (d->slice < 0) snprintf(uuid, length, "GPU-%04d", d->gpu);
    else snprintf(uuid, length, "MIG-%04d-%d", d->gpu, d->slice);
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetName(Device *d, char *name, unsigned int length) {
    snprintf(name, length, "%s", gpus[d->gpu].name);
    return SUCCESS;
}
static void memory(Device *d, unsigned long long *total, unsigned long long *available, unsigned long long *reserved) {
    Gpu *g = &gpus[d->gpu];
    int parts = d->slice < 0 ? 1 : g->slices;
    *total = g->total / parts; *available = g->free / parts; *reserved = g->reserved / parts;
}
nvmlReturn_t nvmlDeviceGetMemoryInfo(Device *d, Memory *m) {
    if (!strcmp(gpus[d->gpu].state, "unified")) return NOT_SUPPORTED;
    unsigned long long reserved;
    memory(d, &m->total, &m->free, &reserved);
    m->used = m->total - m->free;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(Device *d, Memory2 *m) {
    if (!strcmp(gpus[d->gpu].state, "unified")) return NOT_SUPPORTED;
    memory(d, &m->total, &m->free, &m->reserved);
    m->used = m->total - m->free - m->reserved;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetCudaComputeCapability(Device *d, int *major, int *minor) {
    *major = gpus[d->gpu].major; *minor = gpus[d->gpu].minor;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetPowerManagementLimit(Device *d, unsigned int *milliwatts) {
    if (!strcmp(gpus[d->gpu].state, "nopower")) return NOT_SUPPORTED;
    *milliwatts = 450000;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMigMode(Device *d, unsigned int *current, unsigned int *pending) {
    if (gpus[d->gpu].major < 8) return NOT_SUPPORTED;
    *current = *pending = gpus[d->gpu].slices > 0;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(Device *d, unsigned int *number) { (void)d; *number = 7; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(Device *d, unsigned int index, Device **slice) {
    /* the numbers of slices have gaps: number 1 is missing, as after a slice was destroyed */
    int present = index == 0 ? 0 : index == 1 ? -1 : (int)index - 1;
    if (present < 0 || present >= gpus[d->gpu].slices) return NOT_FOUND;
    *slice = &devices[d->gpu][present + 1];
    return SUCCESS;
}

typedef struct {
    unsigned int multiprocessors, copy, decoder, encoder, jpeg, ofa, gpu_slices, compute_slices;
    unsigned long long memory;
} Attributes;
nvmlReturn_t nvmlDeviceGetAttributes_v2(Device *d, Attributes *a) {
    if (d->slice < 0 || !strcmp(gpus[d->gpu].state, "old")) return NOT_SUPPORTED;
    memset(a, 0, sizeof *a);
    a->gpu_slices = a->compute_slices = 7 / gpus[d->gpu].slices;
    return SUCCESS;
}
static nvmlReturn_t lanes(Device *d, unsigned int *number) {
    *number = gpus[d->gpu].lanes;
    return *number ? SUCCESS : NOT_SUPPORTED;
}
nvmlReturn_t nvmlDeviceGetMaxPcieLinkGeneration(Device *d, unsigned int *generation) {
    *generation = gpus[d->gpu].generation;
    return *generation ? SUCCESS : NOT_SUPPORTED;
}
nvmlReturn_t nvmlDeviceGetCurrPcieLinkGeneration(Device *d, unsigned int *generation) {
    (void)d; *generation = 1; /* an idle card saves power */
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetCurrPcieLinkWidth(Device *d, unsigned int *width) { return lanes(d, width); }
nvmlReturn_t nvmlDeviceGetMaxPcieLinkWidth(Device *d, unsigned int *width) {
    *width = 16; /* what the card has, whatever its slot connects */
    return gpus[d->gpu].lanes ? SUCCESS : NOT_SUPPORTED;
}

int cuDriverGetVersion(int *version) { *version = atoi(env("FAKE_CUDA", "13000")); return 0; }
int cuInit(unsigned int flags) { return nvmlInitWithFlags(flags); }
int cuDeviceGetCount(int *number) { *number = count; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? gpus[device].major : gpus[device].minor;
    return 0;
}
