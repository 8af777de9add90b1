#include "transport/nccl/api.h"

#include <dlfcn.h>

#include "base/clock.h"
#include "transport/nccl/caller.h"

namespace regroup::nccl {

std::string version_text(int version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

std::string answer_text(int answer) {
  constexpr const char* kNames[] = {"ncclSuccess",       "ncclUnhandledCudaError", "ncclSystemError",
                                    "ncclInternalError", "ncclInvalidArgument",    "ncclInvalidUsage",
                                    "ncclRemoteError",   "ncclInProgress"};
  return answer >= 0 && answer <= kInProgress ? kNames[answer] : "ncclResult_t " + std::to_string(answer);
}

Result<LibraryPtr> load(const std::string& path, Duration bound) {
  const std::string file = path.empty() ? "libnccl.so.2" : path;
  const auto unsupported = [](const std::string& what) { return Error{Code::kUnsupported, "transport nccl: " + what}; };
  void* handle = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr)
    return unsupported(std::string(::dlerror()) + " (nccl_library or REGROUP_NCCL_LIBRARY names another)");
  auto library = std::make_shared<Library>();
  std::string missing;
  const auto find = [&](const char* name, bool needed) {
    void* found = ::dlsym(handle, name);
    if (found == nullptr && needed && missing.empty()) missing = name;
    return found;
  };
#define REGROUP_NCCL_FIND(needed, name) \
  library->call.name = reinterpret_cast<Functions::name##Function*>(find("nccl" #name, needed));
#define REGROUP_NCCL_FIND_NEEDED(name, ...) REGROUP_NCCL_FIND(true, name)
#define REGROUP_NCCL_FIND_OPTIONAL(name, ...) REGROUP_NCCL_FIND(false, name)
  REGROUP_NCCL_NEEDED(REGROUP_NCCL_FIND_NEEDED)
  REGROUP_NCCL_OPTIONAL(REGROUP_NCCL_FIND_OPTIONAL)
  if (library->call.GetVersion == nullptr) return unsupported(file + " has no ncclGetVersion: is it NCCL?");
  library->takes_host = find(kHostMark, false) != nullptr;

  struct Asked {
    int version = 0, answer = kInProgress;
  };
  const auto asked = std::make_shared<Asked>();
  Caller caller;
  const Caller::Call call =
      caller.start([asked, ask = library->call.GetVersion] { asked->answer = ask(&asked->version); });
  if (!caller.wait(call, now() + bound)) return unsupported(file + " did not tell its version in time");
  if (asked->answer != kSuccess) return unsupported(file + " did not tell its version: " + answer_text(asked->answer));
  library->version = asked->version;
  library->name = "NCCL " + version_text(asked->version) + " (" + file + ")";
  if (asked->version < kOldestVersion) return unsupported(library->name + " is too old, 2.27 or newer is needed");
  if (!missing.empty()) return unsupported(library->name + " has no " + missing);
  return LibraryPtr(std::move(library));
}

}  // namespace regroup::nccl
