/* A JavaScript program run by QuickJS: an interpreter's large functions, with all their switches and calls. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quickjs.h"
/* Made from program.js by the build: `static const char program[]`. */
#include "program.h"

static JSValue print(JSContext *context, JSValueConst this, int argc, JSValueConst *argv)
{
    (void)this;
    const char *text = argc > 0 ? JS_ToCString(context, argv[0]) : NULL;
    if (!text)
        return JS_EXCEPTION;
    puts(text);
    JS_FreeCString(context, text);
    return JS_UNDEFINED;
}

int main(int argc, char **argv)
{
    JSRuntime *runtime = JS_NewRuntime();
    JSContext *context = runtime ? JS_NewContext(runtime) : NULL;
    if (!context)
        return 1;
    /* The stack is WebAssembly's: its own check guards it. */
    JS_SetMaxStackSize(runtime, 0);

    JSValue global = JS_GetGlobalObject(context);
    JS_SetPropertyStr(context, global, "print", JS_NewCFunction(context, print, "print", 1));
    JS_SetPropertyStr(context, global, "perMille", JS_NewInt32(context, argc > 1 ? atoi(argv[1]) : 1000));
    JSValue result = JS_Eval(context, program, strlen(program), "program.js", JS_EVAL_TYPE_GLOBAL);
    int failed = JS_IsException(result);
    if (failed) {
        JSValue exception = JS_GetException(context);
        const char *text = JS_ToCString(context, exception);
        fprintf(stderr, "%s\n", text ? text : "exception");
        JS_FreeCString(context, text);
        JS_FreeValue(context, exception);
    }
    JS_FreeValue(context, result);
    JS_FreeValue(context, global);
    JS_FreeContext(context);
    JS_FreeRuntime(runtime);
    return failed;
}
