// An outside program: public headers and libregroup only.
#include <regroup/base/result.h>

#include <cstdio>
#include <cstring>

int main() {
  const char* name = regroup::code_name(regroup::Code::kMismatch);
  std::printf("%s\n", name);
  return std::strcmp(name, "kMismatch") == 0 ? 0 : 1;
}
