#include "test.h"
CU_TestInfo suite_links[] = {CU_TEST_INFO_NULL};
