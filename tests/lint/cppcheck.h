/* What cppcheck would know if it read the system's headers; make lint includes it in front of each file. */
#define __x86_64__ 1
#define json_array_foreach(array, index, value)                                                              \
    for (index = 0; index < json_array_size(array) && (value = json_array_get(array, index)); index++)
#define json_object_foreach(object, key, value)                                                              \
    for (void *at = json_object_iter(object);                                                                \
         at && (key = json_object_iter_key(at)) && (value = json_object_iter_value(at));                     \
         at = json_object_iter_next(object, at))
/* sys/queue.h */
#define TAILQ_HEAD(name, type)                                                                               \
    struct name {                                                                                            \
        struct type *tqh_first, **tqh_last;                                                                  \
    }
#define TAILQ_ENTRY(type)                                                                                    \
    struct {                                                                                                 \
        struct type *tqe_next, **tqe_prev;                                                                   \
    }
#define SLIST_HEAD(name, type)                                                                               \
    struct name {                                                                                            \
        struct type *slh_first;                                                                              \
    }
#define SLIST_HEAD_INITIALIZER(head)                                                                         \
    {                                                                                                        \
        0                                                                                                    \
    }
#define SLIST_ENTRY(type)                                                                                    \
    struct {                                                                                                 \
        struct type *sle_next;                                                                               \
    }
#define SLIST_FOREACH(at, head, field) for (at = (head)->slh_first; at; at = at->field.sle_next)
