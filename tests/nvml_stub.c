/* A libnvidia-ml.so.1 for tests of the real loading path. NVML_STUB_CARDS: how many cards. NVML_STUB_FAULT:
   "segv" (crash at start), "segv-card" (crash at the last card), "hang", "garbage" (noise on stdout and in
   every text), "lost" (the last card gives no handle), or a number: what init returns. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { char legacy[16]; unsigned domain, bus, device, pci, subsystem; char id[32]; } pci_t;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_t;
typedef struct { unsigned gpu, memory; } rates_t;

static const char *fault(void) { const char *f = getenv("NVML_STUB_FAULT"); return f ? f : ""; }
static int is(const char *name) { return strcmp(fault(), name) == 0; }
static unsigned cards(void) { const char *n = getenv("NVML_STUB_CARDS"); return n ? (unsigned)atoi(n) : 1; }
static unsigned index_of(void *handle) { return (unsigned)((unsigned long)handle >> 4) - 1; }
static int last(void *handle) { return index_of(handle) == cards() - 1; }

int nvmlInitWithFlags(unsigned flags) {
    if (is("segv")) raise(SIGSEGV);
    if (is("hang")) sleep(60);
    if (is("garbage")) { printf("{\"gpu\": noise\n"); fflush(stdout); }
    return atoi(fault());
}
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = cards(); return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    if (index >= cards()) return 2;
    if (is("lost") && index == cards() - 1) return 15;
    *handle = (void *)((unsigned long)(index + 1) << 4);
    return 0;
}
int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "580.65.06"); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 13000; return 0; }
int nvmlDeviceGetName(void *handle, char *text, unsigned size) {
    if (is("garbage")) { memset(text, 0xfe, size - 1); text[size - 1] = 0; return 0; }
    snprintf(text, size, "NVIDIA GeForce RTX 3060");
    return 0;
}
int nvmlDeviceGetUUID(void *handle, char *text, unsigned size) {
    snprintf(text, size, "GPU-00000000-0000-0000-0000-%012u", index_of(handle));
    return 0;
}
int nvmlDeviceGetPciInfo_v3(void *handle, pci_t *pci) {
    memset(pci, 0, sizeof *pci);
    pci->bus = index_of(handle) + 1;
    pci->pci = 0x250310de;
    snprintf(pci->id, sizeof pci->id, "00000000:%02X:00.0", pci->bus);
    return 0;
}
int nvmlDeviceGetMemoryInfo_v2(void *handle, memory_t *memory) {
    memory->total = 12884901888ULL, memory->reserved = 357564416ULL, memory->used = 224395264ULL;
    memory->free = memory->total - memory->reserved - memory->used;
    return 0;
}
int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) { *major = 8, *minor = 6; return 0; }
int nvmlDeviceGetTemperature(void *handle, unsigned sensor, unsigned *c) {
    if (is("segv-card") && last(handle)) raise(SIGSEGV);
    *c = 42;
    return 0;
}
int nvmlDeviceGetTemperatureThreshold(void *handle, unsigned kind, unsigned *c) {
    unsigned limits[] = {98, 95, 0, 93, 0, 83};
    *c = kind < 6 ? limits[kind] : 0;
    return *c ? 0 : 3;
}
int nvmlDeviceGetPowerUsage(void *handle, unsigned *mw) { *mw = 14230; return 0; }
int nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned *mw) { *mw = 170000; return 0; }
int nvmlDeviceGetPowerManagementDefaultLimit(void *handle, unsigned *mw) { *mw = 170000; return 0; }
int nvmlDeviceGetPerformanceState(void *handle, unsigned *state) { *state = 8; return 0; }
int nvmlDeviceGetClockInfo(void *handle, unsigned kind, unsigned *mhz) { *mhz = 210; return 0; }
int nvmlDeviceGetMaxClockInfo(void *handle, unsigned kind, unsigned *mhz) { *mhz = 2115; return 0; }
int nvmlDeviceGetCurrentClocksEventReasons(void *handle, unsigned long long *mask) { *mask = 1; return 0; }
int nvmlDeviceGetUtilizationRates(void *handle, rates_t *rates) { rates->gpu = rates->memory = 0; return 0; }
int nvmlDeviceGetCurrPcieLinkGeneration(void *handle, unsigned *n) { *n = 1; return 0; }
int nvmlDeviceGetMaxPcieLinkGeneration(void *handle, unsigned *n) { *n = 4; return 0; }
int nvmlDeviceGetCurrPcieLinkWidth(void *handle, unsigned *n) { *n = 16; return 0; }
int nvmlDeviceGetMaxPcieLinkWidth(void *handle, unsigned *n) { *n = 16; return 0; }
int nvmlDeviceGetComputeMode(void *handle, unsigned *mode) { *mode = 0; return 0; }
