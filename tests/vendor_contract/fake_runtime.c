/* A runtime whose device memory is the host's. One device, "Ascend910B3"; streams and events are numbers. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int current;
static long handle = 0x1000;

static void *zeroed(size_t size) {
  void *memory = NULL;
  if (posix_memalign(&memory, 512, size ? size : 512)) return NULL;
  memset(memory, 0, size ? size : 512);
  return memory;
}
static int allocate(void **pointer, size_t size) { *pointer = zeroed(size); return *pointer ? 0 : 207001; }
static int create(void **object) { *object = (void *)(handle += 16); return 0; }

int aclrtGetDeviceCount(unsigned *count) { *count = 1; return 0; }
int aclrtGetDevice(int *device) { *device = current; return 0; }
int aclrtSetDevice(int device) { current = device; return 0; }
int aclrtGetLogicDevIdByUserDevId(int user, int *logic) { *logic = user; return 0; }
int aclrtGetPrimaryCtxState(int device, uint32_t *flags, int *active) { if (flags) *flags = 0; *active = 1; return 0; }
int aclrtGetCurrentContext(void **context) { *context = (void *)1; return 0; }
const char *aclrtGetSocName(void) { return "Ascend910B3"; }
const char *aclGetRecentErrMsg(void) { return "host-memory runtime"; }
int aclrtMalloc(void **pointer, size_t size, int policy) { return allocate(pointer, size); }
int aclrtMallocAlign32(void **pointer, size_t size, int policy) { return allocate(pointer, size); }
int aclrtMallocHost(void **pointer, size_t size) { return allocate(pointer, size); }
int aclrtMallocHostWithCfg(void **pointer, size_t size, void *config) { return allocate(pointer, size); }
int aclrtReserveMemAddress(void **pointer, size_t size, size_t alignment, void *expected, uint64_t flags) { return allocate(pointer, size); }
int aclrtFree(void *pointer) { free(pointer); return 0; }
int aclrtFreeHost(void *pointer) { free(pointer); return 0; }
int aclrtMemcpy(void *to, size_t room, const void *from, size_t size, int kind) { if (size) memmove(to, from, size); return 0; }
int aclrtMemcpyAsync(void *to, size_t room, const void *from, size_t size, int kind, void *stream) { if (size) memmove(to, from, size); return 0; }
int aclrtMemcpyAsyncWithCondition(void *to, size_t room, const void *from, size_t size, int kind, void *stream) { if (size) memmove(to, from, size); return 0; }
int aclrtMemset(void *to, size_t room, int value, size_t size) { memset(to, value, size); return 0; }
int aclrtMemsetAsync(void *to, size_t room, int value, size_t size, void *stream) { memset(to, value, size); return 0; }
int aclrtGetMemInfo(int kind, size_t *available, size_t *total) { *available = 8UL << 30; *total = 16UL << 30; return 0; }
int aclrtCreateStream(void **stream) { return create(stream); }
int aclrtCreateStreamWithConfig(void **stream, uint32_t priority, uint32_t flags) { return create(stream); }
int aclrtCreateEventExWithFlag(void **event, uint32_t flags) { return create(event); }
int aclrtCreateEventWithFlag(void **event, uint32_t flags) { return create(event); }
int aclrtQueryEventStatus(void *event, int *status) { *status = 1; return 0; }
int aclQueryEventRecordedStatus(void *event, int *status) { *status = 1; return 0; }
int aclrtQueryEventWaitStatus(void *event, int *status) { *status = 1; return 0; }
int aclrtStreamQuery(void *stream, int *status) { *status = 1; return 0; }
int aclrtStreamGetId(void *stream, int *id) { *id = 1; return 0; }
int aclrtEventElapsedTime(float *time, void *start, void *end) { *time = 0; return 0; }
int aclrtGetStreamOverflowSwitch(void *stream, uint32_t *flag) { *flag = 0; return 0; }
int aclrtGetDeviceInfo(uint32_t device, int what, int64_t *value) { *value = 0; return 0; }
int aclGetDeviceCapability(uint32_t device, int what, int64_t *value) { *value = 24; return 0; }
int aclrtDeviceCanAccessPeer(int *can, int device, int peer) { *can = 0; return 0; }
int aclrtPointerGetAttributes(const void *pointer, uint32_t *attributes) { memset(attributes, 0, 64); return 0; }
int aclmdlRICaptureGetInfo(void *stream, int *status, void **model) { *status = 0; *model = 0; return 0; }
int aclrtGetSysParamOpt(int option, int64_t *value) { *value = 0; return 0; }
int aclGetCompileoptSize(int option) { return 64; }
int aclGetCompileopt(int option, char *value, size_t size) { memset(value, 0, size); return 0; }
int aclsysGetVersionStr(const char *package, char *version) { strcpy(version, "8.5.0"); return 0; }
int aclsysGetCANNVersion(int name, void *version) { memset(version, 0, 512); strcpy(version, "8.5.0"); return 0; }
int aclGetCannAttributeList(const int **list, size_t *size) { *list = 0; *size = 0; return 0; }
int aclGetCannAttribute(int attribute, int32_t *value) { *value = 0; return 0; }
