#include "transport/ucx/api.h"

#include <dlfcn.h>

#include <cstdlib>

namespace regroup::ucx {
namespace {

constexpr unsigned kMajor = 1, kMinor = 13;

Result<const Api*> find() {
  static Api api;
  void* library = ::dlopen("libucp.so.0", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return {Code::kUnsupported, std::string("transport ucx: ") + ::dlerror()};
  std::string missing;
#define REGROUP_UCP_FIND(name)                                            \
  api.name = reinterpret_cast<decltype(api.name)>(::dlsym(library, #name)); \
  if (api.name == nullptr && missing.empty()) missing = #name;
  REGROUP_UCP_FUNCTIONS(REGROUP_UCP_FIND)
#undef REGROUP_UCP_FIND
  unsigned major = 0, minor = 0, release = 0;
  if (api.ucp_get_version != nullptr) api.ucp_get_version(&major, &minor, &release);
  const std::string version = "UCX " + std::to_string(major) + "." + std::to_string(minor);
  if (major != kMajor || minor < kMinor)
    return {Code::kUnsupported, "transport ucx: libucp.so.0 is " + version + ", 1.13 or newer is needed"};
  if (!missing.empty()) return {Code::kUnsupported, "transport ucx: libucp.so.0 (" + version + ") has no " + missing};
  return &api;
}

}  // namespace

Result<const Api*> load() {
  static const Result<const Api*> found = find();
  return found;
}

std::string printed(const std::function<void(std::FILE*)>& print) {
  char* text = nullptr;
  std::size_t bytes = 0;
  std::FILE* stream = ::open_memstream(&text, &bytes);
  if (stream == nullptr) return {};
  print(stream);
  std::fclose(stream);
  std::string all(text, bytes);
  std::free(text);
  return all;
}

}  // namespace regroup::ucx
