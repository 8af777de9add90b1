// json_depth: how deeply arrays and objects are nested in a text, by its brackets outside of strings. Pure; any bytes.
// What writes JSON goes down as deep as that: a text of a stranger is asked for its depth before it is parsed and
// written again.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace regroup {

[[nodiscard]] inline std::size_t json_depth(std::string_view text) {
  std::size_t depth = 0, deepest = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\')
      ++i;
    else if (c == '"')
      quoted = !quoted;
    else if (quoted)
      continue;
    else if (c == '[' || c == '{')
      deepest = std::max(deepest, ++depth);
    else if ((c == ']' || c == '}') && depth > 0)
      --depth;
  }
  return deepest;
}

}  // namespace regroup
