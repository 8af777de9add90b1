// Told: the stand-in for NCCL of this process (the library that the code under test loads by the same file), and its
// orders, which end with this object. One at a time.
#pragma once

#include <dlfcn.h>

#include <string>

#include "base/check.h"

namespace regroup::testing {

class Told {
 public:
  explicit Told(std::string file, const std::string& orders = {}) : file_(std::move(file)) {
    void* library = ::dlopen(file_.c_str(), RTLD_NOW | RTLD_LOCAL);
    RG_CHECK_MSG(library != nullptr, file_.c_str());
    tell_ = reinterpret_cast<void (*)(const char*)>(::dlsym(library, "regroup_nccl_stand_in"));
    count_ = reinterpret_cast<int (*)(const char*)>(::dlsym(library, "regroup_nccl_stand_in_count"));
    tell(orders);
  }
  ~Told() { tell(""); }
  Told(const Told&) = delete;
  Told& operator=(const Told&) = delete;
  void tell(const std::string& orders) { tell_(orders.c_str()); }  // see stand_in.h
  [[nodiscard]] int count(const char* point) const { return count_(point); }
  [[nodiscard]] const std::string& file() const { return file_; }

 private:
  std::string file_;
  void (*tell_)(const char*);
  int (*count_)(const char*);
};

}  // namespace regroup::testing
