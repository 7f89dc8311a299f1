#include "test.h"
CU_TestInfo suite_mesh[] = {CU_TEST_INFO_NULL};
