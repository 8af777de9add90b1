// REGROUP_API marks what leaves libregroup.so: classes and functions of the public headers. Everything else is hidden.
#pragma once

#ifndef REGROUP_API
#define REGROUP_API __attribute__((visibility("default")))
#endif
